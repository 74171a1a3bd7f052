//! A reader for the pickles of NumPy and SciPy that runs nothing.
//!
//! A pickle is a program for a stack machine that may call any function of Python. This machine
//! knows the instructions of protocol 2 that build data, and of functions and classes only those in
//! [`Global::find`], which it recognises and never calls; all else is refused by its name. Values
//! live in one list and refer to each other by their places in it, so shared and cyclic values cost
//! nothing, and there are never more of them than the file has bytes.

mod machine;

use machine::Machine;
use std::borrow::Cow;

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
        let (values, root) = Machine::new(bytes).run()?;
        Ok(Self { values, root })
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
