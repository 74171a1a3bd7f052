//! A reader for the pickles of NumPy and SciPy that runs nothing.
//!
//! A pickle is a program for a stack machine that may call any function of Python. This machine
//! knows the instructions of protocol 2 that build data, and of functions and classes only those in
//! [`Global::find`], which it recognises and never calls; all else is refused by its name. Values
//! live in one list and refer to each other by their places in it, so shared and cyclic values cost
//! nothing, and there are never more of them than the file has bytes.

use std::borrow::Cow;
use std::collections::HashMap;

/// A value's place.
pub(super) type Id = usize;

/// A class whose objects are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// `numpy.ndarray`
    Array,
    /// `numpy.dtype`
    Type,
    /// `scipy.sparse.csr_matrix`
    CsrMatrix,
}

/// A function or class that a pickle may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Global {
    /// `_reconstruct`, which makes arrays.
    MakeArray,
    /// A class.
    Class(Class),
    /// `collections.defaultdict`
    DefaultDict,
    /// `list`, as the default of a `defaultdict`.
    List,
    /// `_codecs.encode`: how Python 3 writes bytes in protocol 2.
    Encode,
}

impl Global {
    fn find(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => {
                Global::MakeArray
            }
            ("numpy", "ndarray") => Global::Class(Class::Array),
            ("numpy", "dtype") => Global::Class(Class::Type),
            ("scipy.sparse.csr" | "scipy.sparse._csr", "csr_matrix") => {
                Global::Class(Class::CsrMatrix)
            }
            ("collections", "defaultdict") => Global::DefaultDict,
            ("__builtin__" | "builtins", "list") => Global::List,
            ("_codecs", "encode") => Global::Encode,
            _ => return None,
        })
    }
}

/// One value.
#[derive(Debug)]
enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Bytes(Cow<'a, [u8]>),
    Text(&'a str),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Object { class: Class, arguments: Id, state: Option<Id> },
}

/// What a pickle holds.
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// Reads a pickle.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let mut machine = Machine { rest: bytes, budget: bytes.len(), ..Machine::default() };
        let n_bytes = bytes.len();
        loop {
            let at = n_bytes - machine.rest.len();
            match machine.step() {
                Ok(None) => {}
                Ok(Some(root)) => return Ok(Self { values: machine.values, root }),
                Err(problem) => return Err(format!("byte {at}: {problem}")),
            }
        }
    }

    /// The value that the pickle is of.
    pub(super) fn root(&self) -> Id {
        self.root
    }

    /// A dictionary's pairs.
    pub(super) fn dict(&self, id: Id, what: &str) -> Result<&[(Id, Id)], String> {
        match &self.values[id] {
            Value::Dict(pairs) => Ok(pairs),
            other => Err(format!("{what} is {}, not a dictionary", other.describe())),
        }
    }

    /// A list's elements.
    pub(super) fn list(&self, id: Id, what: &str) -> Result<&[Id], String> {
        match &self.values[id] {
            Value::List(elements) => Ok(elements),
            other => Err(format!("{what} is {}, not a list", other.describe())),
        }
    }

    /// A tuple's elements.
    pub(super) fn tuple(&self, id: Id, what: &str) -> Result<&[Id], String> {
        match &self.values[id] {
            Value::Tuple(elements) => Ok(elements),
            other => Err(format!("{what} is {}, not a tuple", other.describe())),
        }
    }

    /// A byte string, or a text's bytes.
    pub(super) fn bytes(&self, id: Id, what: &str) -> Result<&[u8], String> {
        match &self.values[id] {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Text(text) => Ok(text.as_bytes()),
            other => Err(format!("{what} is {}, not bytes", other.describe())),
        }
    }

    /// A truth value; Python 2 also writes them as 0 and 1.
    pub(super) fn truth(&self, id: Id) -> Result<bool, String> {
        match &self.values[id] {
            Value::Bool(truth) => Ok(*truth),
            Value::Int(number) => Ok(*number != 0),
            other => Err(format!("a flag is {}", other.describe())),
        }
    }

    /// A size or length.
    pub(super) fn size(&self, id: Id) -> Result<usize, String> {
        match &self.values[id] {
            Value::Int(size) if *size >= 0 => Ok(*size as usize),
            other => Err(format!("a size is {}", other.describe())),
        }
    }

    /// A node's number.
    pub(super) fn node(&self, id: Id) -> Result<u32, String> {
        let node = match &self.values[id] {
            Value::Int(node) => u32::try_from(*node).ok(),
            _ => None,
        };
        node.ok_or_else(|| format!("a node is {}", self.values[id].describe()))
    }

    /// The state of an object of this class.
    pub(super) fn state(&self, id: Id, expected: Class) -> Result<Id, String> {
        match &self.values[id] {
            Value::Object { class, state: Some(state), .. } if *class == expected => Ok(*state),
            other => Err(format!("is {}, not a whole {expected:?}", other.describe())),
        }
    }

    /// What an object of this class was made from.
    pub(super) fn arguments(&self, id: Id, expected: Class) -> Result<Id, String> {
        match &self.values[id] {
            Value::Object { class, arguments, .. } if *class == expected => Ok(*arguments),
            other => Err(format!("is {}, not a {expected:?}", other.describe())),
        }
    }

    /// The entry of a dictionary with text keys.
    pub(super) fn field(&self, dict: Id, name: &str) -> Result<Id, String> {
        let has_name = |&&(key, _): &&(Id, Id)| {
            self.bytes(key, "a key").is_ok_and(|key| key == name.as_bytes())
        };
        let pair = self.dict(dict, "an object's state")?.iter().find(has_name);
        pair.map(|&(_, value)| value).ok_or_else(|| format!("lacks {name}"))
    }
}

impl Value<'_> {
    fn describe(&self) -> String {
        match self {
            Value::None => "None".into(),
            Value::Bool(truth) => truth.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Value::Text(text) => format!("a text of {} bytes", text.len()),
            Value::Tuple(elements) => format!("a tuple of {}", elements.len()),
            Value::List(elements) => format!("a list of {}", elements.len()),
            Value::Dict(pairs) => format!("a dictionary of {}", pairs.len()),
            Value::Global(global) => format!("the name of {global:?}"),
            Value::Object { class, .. } => format!("an object of {class:?}"),
        }
    }
}

/// The state of the machine between two instructions.
#[derive(Default)]
struct Machine<'a> {
    rest: &'a [u8],
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack at its marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// How many bytes may still be made from texts: a text that is kept can be encoded many times.
    budget: usize,
}

impl<'a> Machine<'a> {
    /// One instruction; at the last one, the value that the pickle is of.
    fn step(&mut self) -> Result<Option<Id>, String> {
        let [opcode] = self.array()?;
        match opcode {
            b'.' => return self.pop().map(Some),
            0x80 => match self.array()? {
                [0..=2] => {}
                [version] => return Err(format!("protocol {version} isn't read, 2 is")),
            },
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'J' => self.int(i32::from_le_bytes)?,
            b'K' => self.int(|bytes: [u8; 1]| i32::from(bytes[0]))?,
            b'M' => self.int(|bytes| i32::from(u16::from_le_bytes(bytes)))?,
            0x8a => self.long()?,
            b'U' => self.short_string()?,
            b'T' => self.string()?,
            b'X' => self.text()?,
            b')' => self.push(Value::Tuple(Vec::new())),
            b']' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            0x85..=0x87 => self.short_tuple(usize::from(opcode - 0x84))?,
            b't' => {
                let elements = self.pop_to_mark()?;
                self.push(Value::Tuple(elements));
            }
            b'a' => {
                let element = self.pop()?;
                self.append(&[element])?;
            }
            b'e' => {
                let elements = self.pop_to_mark()?;
                self.append(&elements)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[key, value])?;
            }
            b'u' => {
                let pairs = self.pop_to_mark()?;
                self.set(&pairs)?;
            }
            b'c' => self.global()?,
            b'R' | 0x81 => self.make()?,
            b'b' => self.build()?,
            b'q' => {
                let [place] = self.array()?;
                self.put(u32::from(place))?;
            }
            b'r' => {
                let place = u32::from_le_bytes(self.array()?);
                self.put(place)?;
            }
            b'h' => {
                let [place] = self.array()?;
                self.get(u32::from(place))?;
            }
            b'j' => {
                let place = u32::from_le_bytes(self.array()?);
                self.get(place)?;
            }
            other => {
                let other = other.escape_ascii();
                return Err(format!("the instruction '{other}' builds nothing that is needed"));
            }
        }
        Ok(None)
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    /// The top of the stack, down to the last mark.
    fn pop(&mut self) -> Result<Id, String> {
        if self.marks.last().is_some_and(|&mark| mark == self.stack.len()) {
            return Err("takes a mark for a value".into());
        }
        self.stack.pop().ok_or_else(|| "the stack is empty".into())
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("there is no mark on the stack")?;
        Ok(self.stack.split_off(mark))
    }

    fn top(&self) -> Result<Id, String> {
        self.stack.last().copied().ok_or_else(|| "the stack is empty".into())
    }

    fn take(&mut self, n_bytes: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(n_bytes).ok_or_else(|| {
            format!("needs {n_bytes} bytes, but the file has {} left", self.rest.len())
        })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn int<const N: usize>(&mut self, convert: fn([u8; N]) -> i32) -> Result<(), String> {
        let number = convert(self.array()?);
        self.push(Value::Int(i64::from(number)));
        Ok(())
    }

    /// An integer of any length, of which 64 bits are read.
    fn long(&mut self) -> Result<(), String> {
        let [n_bytes] = self.array()?;
        let bytes = self.take(usize::from(n_bytes))?;
        if bytes.len() > 8 {
            return Err(format!("an integer of {n_bytes} bytes"));
        }
        let is_negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
        let mut wide = [if is_negative { 0xff } else { 0 }; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(wide)));
        Ok(())
    }

    fn short_string(&mut self) -> Result<(), String> {
        let [length] = self.array()?;
        let bytes = self.take(usize::from(length))?;
        self.push(Value::Bytes(Cow::Borrowed(bytes)));
        Ok(())
    }

    fn string(&mut self) -> Result<(), String> {
        let length = u32::from_le_bytes(self.array()?);
        let bytes = self.take(length as usize)?;
        self.push(Value::Bytes(Cow::Borrowed(bytes)));
        Ok(())
    }

    fn text(&mut self) -> Result<(), String> {
        let length = u32::from_le_bytes(self.array()?);
        let bytes = self.take(length as usize)?;
        let text = std::str::from_utf8(bytes).map_err(|error| format!("a text: {error}"))?;
        self.push(Value::Text(text));
        Ok(())
    }

    fn short_tuple(&mut self, length: usize) -> Result<(), String> {
        let mut elements = (0..length).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        elements.reverse();
        self.push(Value::Tuple(elements));
        Ok(())
    }

    fn append(&mut self, elements: &[Id]) -> Result<(), String> {
        let list = self.top()?;
        match &mut self.values[list] {
            Value::List(list) => list.extend(elements),
            other => return Err(format!("appends to {}", other.describe())),
        }
        Ok(())
    }

    fn set(&mut self, pairs: &[Id]) -> Result<(), String> {
        let dict = self.top()?;
        let (pairs, rest) = pairs.as_chunks::<2>();
        match &mut self.values[dict] {
            Value::Dict(dict) if rest.is_empty() => {
                dict.extend(pairs.iter().map(|&[key, value]| (key, value)));
            }
            Value::Dict(_) => return Err("sets a key without a value".into()),
            other => return Err(format!("sets an entry of {}", other.describe())),
        }
        Ok(())
    }

    fn global(&mut self) -> Result<(), String> {
        let (module, name) = (self.line()?, self.line()?);
        let global = Global::find(module, name)
            .ok_or_else(|| format!("{module}.{name} isn't a function or class that data needs"))?;
        self.push(Value::Global(global));
        Ok(())
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let end = self.rest.iter().position(|&byte| byte == b'\n').ok_or("an open line")?;
        let line = self.take(end + 1)?;
        std::str::from_utf8(&line[..end]).map_err(|error| format!("a name: {error}"))
    }

    /// What a call of a function or class would give.
    fn make(&mut self) -> Result<(), String> {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let Value::Tuple(elements) = &self.values[arguments] else {
            return Err(format!("arguments are {}", self.values[arguments].describe()));
        };
        let Value::Global(global) = self.values[callee] else {
            return Err(format!("calls {}", self.values[callee].describe()));
        };
        let object = |class| Value::Object { class, arguments, state: None };
        let made = match global {
            Global::MakeArray => object(Class::Array),
            Global::Class(class) => object(class),
            Global::DefaultDict => Value::Dict(Vec::new()),
            Global::List => Value::List(Vec::new()),
            Global::Encode => {
                let bytes = self.latin1(elements)?;
                self.budget = self.budget.checked_sub(bytes.len()).ok_or("encodes a text again")?;
                Value::Bytes(Cow::Owned(bytes))
            }
        };
        self.push(made);
        Ok(())
    }

    fn latin1(&self, arguments: &[Id]) -> Result<Vec<u8>, String> {
        let Some(Value::Text(text)) = arguments.first().map(|&id| &self.values[id]) else {
            return Err("encodes what is no text".into());
        };
        let byte = |c: char| u8::try_from(u32::from(c)).ok();
        text.chars().map(byte).collect::<Option<_>>().ok_or_else(|| "text beyond Latin-1".into())
    }

    fn build(&mut self) -> Result<(), String> {
        let built = self.pop()?;
        let object = self.top()?;
        match &mut self.values[object] {
            Value::Object { state, .. } => *state = Some(built),
            other => return Err(format!("gives a state to {}", other.describe())),
        }
        Ok(())
    }

    fn put(&mut self, place: u32) -> Result<(), String> {
        let top = self.top()?;
        self.memo.insert(place, top);
        Ok(())
    }

    fn get(&mut self, place: u32) -> Result<(), String> {
        let id = *self.memo.get(&place).ok_or_else(|| format!("nothing is kept at {place}"))?;
        self.stack.push(id);
        Ok(())
    }
}
