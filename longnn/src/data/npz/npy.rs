//! One `.npy` array: a magic, a Python dictionary literal with type and shape, then the elements.
//!
//! Read is what the graph files use: little-endian numbers in C order. Pickled objects are refused
//! with every other type. Problems are plain sentences; the caller knows the file and the array.

use std::io::Read;

/// More than any header of numbers needs; version 1 of the format allows 64 KiB.
const MAX_HEADER_BYTES: usize = 4096;
/// More than any array of ours has.
const MAX_DIMENSIONS: usize = 8;

/// An element's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    U8,
    I32,
    U32,
    I64,
    U64,
    F32,
    F64,
}

impl Element {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "|u1" | "|b1" => Element::U8,
            "<i4" => Element::I32,
            "<u4" => Element::U32,
            "<i8" => Element::I64,
            "<u8" => Element::U64,
            "<f4" => Element::F32,
            "<f8" => Element::F64,
            other => {
                let problem = "isn't read; |u1, |b1, <i4, <u4, <i8, <u8, <f4 and <f8 are";
                return Err(format!("the type {other} {problem}"));
            }
        })
    }

    fn size(self) -> usize {
        match self {
            Element::U8 => 1,
            Element::I32 | Element::U32 | Element::F32 => 4,
            Element::I64 | Element::U64 | Element::F64 => 8,
        }
    }
}

/// What an array says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    element: Element,
    pub(super) shape: Vec<usize>,
}

impl Header {
    /// Reads magic, version and dictionary, and leaves `reader` at the first element.
    pub(super) fn read(reader: &mut impl Read) -> Result<Self, String> {
        let mut take = |n_bytes: usize| {
            let mut bytes = vec![0; n_bytes];
            let read = reader.read_exact(&mut bytes);
            read.map(|()| bytes).map_err(|error| format!("the header ends early: {error}"))
        };
        let start = take(8)?;
        if start[..6] != *b"\x93NUMPY" {
            return Err("is no .npy array: its magic is wrong".into());
        }
        let length = match start[6] {
            1 => usize::from(u16::from_le_bytes([take(1)?[0], take(1)?[0]])),
            version => return Err(format!("has version {version} of the .npy format, not 1")),
        };
        if length > MAX_HEADER_BYTES {
            return Err(format!(
                "has a header of {length} bytes; at most {MAX_HEADER_BYTES} are read"
            ));
        }
        let text = String::from_utf8(take(length)?).map_err(|_| "the header isn't ASCII")?;
        Literal { rest: &text }.header()
    }

    /// Bytes of all elements; `None` if the number is absurd.
    pub(super) fn n_bytes(&self) -> Option<u64> {
        let mut sizes = self.shape.iter().map(|&size| size as u64);
        let n_elements = sizes.try_fold(1_u64, u64::checked_mul)?;
        n_elements.checked_mul(self.element.size() as u64)
    }
}

/// The text of a header that hasn't been read yet.
struct Literal<'a> {
    rest: &'a str,
}

impl<'a> Literal<'a> {
    fn header(mut self) -> Result<Header, String> {
        let (mut element, mut order, mut shape) = (None, None, None);
        self.expect("{")?;
        while !self.skips("}") {
            let key = self.string()?;
            self.expect(":")?;
            match key {
                "descr" => element = Some(Element::parse(self.string()?)?),
                "fortran_order" => order = Some(self.boolean()?),
                "shape" => shape = Some(self.tuple()?),
                other => return Err(format!("the header has an unknown key {other}")),
            }
            if !self.skips(",") {
                self.expect("}")?;
                break;
            }
        }
        if !self.rest.trim().is_empty() {
            return Err("the header goes on after its dictionary".into());
        }
        let (Some(element), Some(order), Some(shape)) = (element, order, shape) else {
            return Err("the header lacks descr, fortran_order or shape".into());
        };
        if order && shape.len() > 1 {
            return Err("is in Fortran order; only C order is read".into());
        }
        Ok(Header { element, shape })
    }

    fn skips(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start();
        self.rest = rest.strip_prefix(token).unwrap_or(rest);
        self.rest.len() != rest.len()
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        match self.skips(token) {
            true => Ok(()),
            false => {
                let found: String = self.rest.chars().take(12).collect();
                Err(format!("the header has {found:?} in place of {token:?}"))
            }
        }
    }

    fn string(&mut self) -> Result<&'a str, String> {
        self.expect("'")?;
        let (text, rest) = self.rest.split_once('\'').ok_or("the header has an open string")?;
        self.rest = rest;
        Ok(text)
    }

    fn boolean(&mut self) -> Result<bool, String> {
        if self.skips("True") {
            return Ok(true);
        }
        self.expect("False").map(|()| false)
    }

    fn tuple(&mut self) -> Result<Vec<usize>, String> {
        let mut sizes = Vec::new();
        self.expect("(")?;
        while !self.skips(")") {
            let rest = self.rest;
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (digits, rest) = rest.split_at(end);
            let size = digits.parse().map_err(|_| "the header has a size that is no number")?;
            self.rest = rest;
            if sizes.len() == MAX_DIMENSIONS {
                return Err(format!("has more than {MAX_DIMENSIONS} dimensions"));
            }
            sizes.push(size);
            if !self.skips(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(sizes)
    }
}

/// An array whose bytes are as many as its shape says.
#[derive(Debug)]
pub(in crate::data) struct Array {
    header: Header,
    bytes: Vec<u8>,
}

impl Array {
    pub(super) fn new(header: Header, bytes: Vec<u8>) -> Self {
        Self { header, bytes }
    }

    /// The sizes, outermost first.
    pub(in crate::data) fn shape(&self) -> &[usize] {
        &self.header.shape
    }

    /// The elements as integers that aren't negative.
    pub(in crate::data) fn integers(&self) -> Result<Vec<u64>, String> {
        let checked = |(place, value): (usize, i64)| {
            u64::try_from(value).map_err(|_| format!("element {place} is {value}"))
        };
        match self.header.element {
            Element::U8 => Ok(self.bytes.iter().map(|&byte| u64::from(byte)).collect()),
            Element::I32 => {
                let values = self.elements(|bytes| i64::from(i32::from_le_bytes(bytes)));
                values.enumerate().map(checked).collect()
            }
            Element::I64 => self.elements(i64::from_le_bytes).enumerate().map(checked).collect(),
            Element::U32 => Ok(self.elements(|b| u64::from(u32::from_le_bytes(b))).collect()),
            Element::U64 => Ok(self.elements(u64::from_le_bytes).collect()),
            Element::F32 | Element::F64 => Err("holds fractions instead of integers".into()),
        }
    }

    /// The elements as 32-bit indices.
    pub(in crate::data) fn indices(&self) -> Result<Vec<u32>, String> {
        let narrow = |(place, value): (usize, u64)| {
            let narrow = u32::try_from(value);
            narrow.map_err(|_| format!("element {place} is {value}, beyond 32 bits"))
        };
        self.integers()?.into_iter().enumerate().map(narrow).collect()
    }

    /// The elements as single-precision numbers; what is beyond their range becomes infinite.
    pub(in crate::data) fn floats(&self) -> Result<Vec<f32>, String> {
        match self.header.element {
            Element::F32 => Ok(self.elements(f32::from_le_bytes).collect()),
            Element::F64 => Ok(self.elements(|bytes| f64::from_le_bytes(bytes) as f32).collect()),
            _ => Ok(self.integers()?.into_iter().map(|value| value as f32).collect()),
        }
    }

    fn elements<const N: usize, T>(&self, convert: fn([u8; N]) -> T) -> impl Iterator<Item = T> {
        let (chunks, _) = self.bytes.as_chunks::<N>();
        chunks.iter().map(move |&chunk| convert(chunk))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Result<Header, String> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        Header::read(&mut bytes.as_slice())
    }

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let problem = header(text).unwrap_err();
        assert!(problem.contains(expected), "{problem}");
    }

    #[test]
    fn numpys_headers_are_read() {
        let text = "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 5278), }          \n";
        let header_2d = header(text).unwrap();
        assert_eq!(header_2d, Header { element: Element::I32, shape: vec![2, 5278] });
        assert_eq!(header_2d.n_bytes(), Some(2 * 5278 * 4));
        let text = "{'shape':(3,),'descr':'<f8','fortran_order':True}";
        assert_eq!(header(text).unwrap().n_bytes(), Some(24));
        let scalar = header("{'descr': '|u1', 'fortran_order': False, 'shape': ()}").unwrap();
        assert_eq!(scalar.n_bytes(), Some(1));
    }

    #[test]
    fn other_headers_are_refused() {
        refused("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "the type |O");
        refused("{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}", "the type >f4");
        refused("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2)}", "Fortran order");
        refused("{'descr': '<f4', 'fortran_order': False}", "lacks descr");
        refused("{'descr': '<f4', 'shape': (-1,)}", "a size that is no number");
        refused("{'shape': (1,1,1,1,1,1,1,1,1)}", "more than 8 dimensions");
        refused("{'descr': '<f4', 'extra': 1}", "unknown key extra");
        refused("{'descr': '<f4", "open string");
        refused("['descr']", "in place of \"{\"");
        refused("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x", "goes on");
        assert!(Header::read(&mut &b"PK"[..]).unwrap_err().contains("ends early"));
        assert!(Header::read(&mut &b"\x93NUMPZ\x01\0\0\0"[..]).unwrap_err().contains("magic"));
        assert!(Header::read(&mut &b"\x93NUMPY\x02\0\0\0"[..]).unwrap_err().contains("version 2"));
    }

    #[test]
    fn an_absurd_shape_has_no_bytes() {
        let text = "{'descr': '<i8', 'fortran_order': False, 'shape': (4294967296, 4294967296)}";
        assert_eq!(header(text).unwrap().n_bytes(), None);
    }

    #[test]
    fn elements_are_converted_with_their_place() {
        let array = |element, bytes: &[u8]| {
            let shape = vec![bytes.len() / Element::size(element)];
            Array::new(Header { element, shape }, bytes.to_vec())
        };
        let negative = array(Element::I32, &[1, 0, 0, 0, 255, 255, 255, 255]);
        assert_eq!(negative.integers().unwrap_err(), "element 1 is -1");
        let wide = array(Element::I64, &[0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(wide.indices().unwrap_err(), "element 0 is 4294967296, beyond 32 bits");
        assert_eq!(wide.floats().unwrap(), [4_294_967_296.0]);
        let half = array(Element::F32, &0.5_f32.to_le_bytes());
        assert_eq!(half.floats().unwrap(), [0.5]);
        assert_eq!(half.integers().unwrap_err(), "holds fractions instead of integers");
        assert_eq!(array(Element::U8, &[7, 0]).indices().unwrap(), [7, 0]);
    }
}
