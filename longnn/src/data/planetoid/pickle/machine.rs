//! The stack machine: one instruction after the other, each checked against what is there.

use super::{Class, Global, Id, Value};
use std::borrow::Cow;
use std::collections::HashMap;

/// The state of the machine between two instructions.
#[derive(Default)]
pub(super) struct Machine<'a> {
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
    /// A machine before the first instruction.
    pub(super) fn new(program: &'a [u8]) -> Self {
        Self { rest: program, budget: program.len(), ..Self::default() }
    }

    /// Runs to the end: all values, and the place of the one that the pickle is of.
    pub(super) fn run(mut self) -> Result<(Vec<Value<'a>>, Id), String> {
        let n_bytes = self.rest.len();
        loop {
            let at = n_bytes - self.rest.len();
            match self.step() {
                Ok(None) => {}
                Ok(Some(root)) => return Ok((self.values, root)),
                Err(problem) => return Err(format!("byte {at}: {problem}")),
            }
        }
    }

    /// One instruction; at the last one, the place of the value that the pickle is of.
    fn step(&mut self) -> Result<Option<Id>, String> {
        let [opcode] = self.array()?;
        match opcode {
            b'.' => return self.pop().map(Some),
            0x80 => match self.array()? {
                [0..=2] => {}
                [version] => return Err(format!("protocol {version} isn't read, 2 is")),
            },
            b'c' => self.global()?,
            b'R' | 0x81 => self.make()?,
            b'b' => self.build()?,
            b'N' | b'J' | b'K' | b'M' | b'U' | b'T' | b'X' | 0x88..=0x8a => self.literal(opcode)?,
            b'(' | b')' | b']' | b'}' | b't' | b'a' | b'e' | b's' | b'u' | 0x85..=0x87 => {
                self.container(opcode)?;
            }
            b'q' | b'r' | b'h' | b'j' => self.memo(opcode)?,
            other => {
                let other = other.escape_ascii();
                return Err(format!("the instruction '{other}' builds nothing that is needed"));
            }
        }
        Ok(None)
    }

    fn literal(&mut self, opcode: u8) -> Result<(), String> {
        let value = match opcode {
            b'J' => Value::Int(i64::from(i32::from_le_bytes(self.array()?))),
            b'K' => Value::Int(i64::from(u8::from_le_bytes(self.array()?))),
            b'M' => Value::Int(i64::from(u16::from_le_bytes(self.array()?))),
            0x8a => Value::Int(self.long()?),
            b'U' => {
                let length = u8::from_le_bytes(self.array()?);
                Value::Bytes(Cow::Borrowed(self.take(usize::from(length))?))
            }
            b'T' => {
                let length = u32::from_le_bytes(self.array()?);
                Value::Bytes(Cow::Borrowed(self.take(length as usize)?))
            }
            b'X' => {
                let length = u32::from_le_bytes(self.array()?);
                let text = std::str::from_utf8(self.take(length as usize)?);
                Value::Text(text.map_err(|error| format!("a text: {error}"))?)
            }
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            _ => Value::None,
        };
        self.push(value);
        Ok(())
    }

    fn container(&mut self, opcode: u8) -> Result<(), String> {
        match opcode {
            b'(' => self.marks.push(self.stack.len()),
            b']' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
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
            // TUPLE1 to TUPLE3 follow on 0x84; an empty tuple is `)`.
            _ => self.short_tuple(usize::from(opcode.saturating_sub(0x84)))?,
        }
        Ok(())
    }

    /// Keeps the top of the stack for later, or gets what was kept.
    fn memo(&mut self, opcode: u8) -> Result<(), String> {
        let place = match opcode {
            b'q' | b'h' => u32::from(u8::from_le_bytes(self.array()?)),
            _ => u32::from_le_bytes(self.array()?),
        };
        if matches!(opcode, b'q' | b'r') {
            let top = self.top()?;
            self.memo.insert(place, top);
        } else {
            let kept = self.memo.get(&place);
            self.stack.push(*kept.ok_or_else(|| format!("nothing is kept at {place}"))?);
        }
        Ok(())
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

    /// An integer of any length, of which 64 bits are read.
    fn long(&mut self) -> Result<i64, String> {
        let [n_bytes] = self.array()?;
        let bytes = self.take(usize::from(n_bytes))?;
        if bytes.len() > 8 {
            return Err(format!("an integer of {n_bytes} bytes"));
        }
        let is_negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
        let mut wide = [if is_negative { 0xff } else { 0 }; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        Ok(i64::from_le_bytes(wide))
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
}
