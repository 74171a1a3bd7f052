//! NumPy arrays and SciPy matrices as they lie in a pickle.
//!
//! An array is `_reconstruct(ndarray, (0,), 'b')` with the state `(version, shape, dtype, is_fortran,
//! bytes)`; a type is `dtype('f4', 0, 1)` with a state that begins `(3, '<'`; a matrix is a
//! `csr_matrix` with its fields as state.

use super::pickle::{Class, Id, Pickle};

/// The stored values of one row of a matrix: columns, ascending, and values.
pub(super) type Row = Vec<(u32, f32)>;

/// The rows of the CSR matrix that a pickle holds, and its number of columns.
pub(super) fn csr_rows(pickle: &Pickle<'_>) -> Result<(Vec<Row>, usize), String> {
    let fields = pickle.state(pickle.root(), Class::CsrMatrix)?;
    let field = |name| pickle.field(fields, name);
    let shape = match pickle.tuple(field("_shape")?, "_shape")? {
        &[rows, columns] => [pickle.size(rows)?, pickle.size(columns)?],
        _ => return Err("_shape isn't a pair".into()),
    };
    let array = |name| Array::new(pickle, field(name)?).map_err(|e| format!("{name}: {e}"));
    let offsets = array("indptr")?.integers()?;
    let columns = array("indices")?.integers()?;
    let values = array("data")?.floats()?;
    let [n_rows, n_columns] = shape;
    if offsets.len().checked_sub(1) != Some(n_rows) || columns.len() != values.len() {
        return Err(format!(
            "{} offsets, {} columns and {} values for {n_rows} rows",
            offsets.len(),
            columns.len(),
            values.len()
        ));
    }
    // Rows that overlap would make a small file a large matrix.
    if offsets.windows(2).any(|bounds| bounds[0] > bounds[1]) {
        return Err("indptr descends".into());
    }
    let rows = offsets.windows(2).enumerate().map(|(idx, bounds)| {
        row(bounds, &columns, &values).ok_or_else(|| format!("row {idx} leaves its matrix"))
    });
    Ok((rows.collect::<Result<_, _>>()?, n_columns))
}

/// One row, sorted by columns: SciPy doesn't promise an order. `None` if it isn't there.
fn row(bounds: &[i64], columns: &[i64], values: &[f32]) -> Option<Row> {
    let range = usize::try_from(bounds[0]).ok()?..usize::try_from(bounds[1]).ok()?;
    let values = values.get(range.clone())?;
    let columns = columns.get(range)?.iter().map(|&column| u32::try_from(column).ok());
    let mut row: Row =
        columns.collect::<Option<Vec<u32>>>()?.into_iter().zip(values.iter().copied()).collect();
    row.sort_by_key(|&(column, _)| column);
    Some(row)
}

/// The class of each row of the one-hot matrix that a pickle holds: its first greatest column, so
/// a row of zeros is of class 0.
pub(super) fn one_hot_classes(pickle: &Pickle<'_>) -> Result<Vec<u16>, String> {
    let array = Array::new(pickle, pickle.root())?;
    let &[_, n_classes] = array.shape.as_slice() else {
        return Err(format!("has shape {:?} instead of (nodes, classes)", array.shape));
    };
    if n_classes == 0 || n_classes > usize::from(u16::MAX) {
        return Err(format!("has {n_classes} classes"));
    }
    let values = array.floats()?;
    let class = |row: &[f32]| {
        (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best })
    };
    Ok(values.chunks_exact(n_classes).map(|row| class(row) as u16).collect())
}

/// An element's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    I32,
    I64,
    F32,
    F64,
}

/// An array whose bytes are as many as its shape says.
struct Array<'a> {
    shape: Vec<usize>,
    element: Element,
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    fn new(pickle: &'a Pickle<'_>, id: Id) -> Result<Self, String> {
        let state = pickle.state(id, Class::Array)?;
        let &[_, shape, element, is_fortran, bytes] = pickle.tuple(state, "an array's state")?
        else {
            return Err("an array's state hasn't 5 parts".into());
        };
        let shape = pickle.tuple(shape, "an array's shape")?;
        let shape = shape.iter().map(|&size| pickle.size(size)).collect::<Result<Vec<_>, _>>()?;
        let element = element_of(pickle, element)?;
        if pickle.truth(is_fortran)? && shape.len() > 1 {
            return Err("is in Fortran order; only C order is read".into());
        }
        let bytes = pickle.bytes(bytes, "an array's contents")?;
        let size = match element {
            Element::I32 | Element::F32 => 4,
            Element::I64 | Element::F64 => 8,
        };
        let n_bytes = shape.iter().try_fold(size, |product: usize, &n| product.checked_mul(n));
        if n_bytes != Some(bytes.len()) {
            return Err(format!("shape {shape:?} doesn't fit {} bytes", bytes.len()));
        }
        Ok(Self { shape, element, bytes })
    }

    fn integers(&self) -> Result<Vec<i64>, String> {
        match self.element {
            Element::I32 => Ok(self.elements(|bytes| i64::from(i32::from_le_bytes(bytes)))),
            Element::I64 => Ok(self.elements(i64::from_le_bytes)),
            Element::F32 | Element::F64 => Err("holds fractions instead of integers".into()),
        }
    }

    fn floats(&self) -> Result<Vec<f32>, String> {
        match self.element {
            Element::F32 => Ok(self.elements(f32::from_le_bytes)),
            Element::F64 => Ok(self.elements(|bytes| f64::from_le_bytes(bytes) as f32)),
            _ => Ok(self.integers()?.into_iter().map(|value| value as f32).collect()),
        }
    }

    fn elements<const N: usize, T>(&self, convert: fn([u8; N]) -> T) -> Vec<T> {
        self.bytes.as_chunks::<N>().0.iter().map(|&chunk| convert(chunk)).collect()
    }
}

fn element_of(pickle: &Pickle<'_>, id: Id) -> Result<Element, String> {
    let arguments = pickle.tuple(pickle.arguments(id, Class::Type)?, "a type's arguments")?;
    let state = pickle.tuple(pickle.state(id, Class::Type)?, "a type's state")?;
    let (Some(&name), Some(&order)) = (arguments.first(), state.get(1)) else {
        return Err("a type lacks its name or its byte order".into());
    };
    let (name, order) = (pickle.bytes(name, "a type")?, pickle.bytes(order, "a byte order")?);
    match (name, order) {
        (b"i4", b"<") => Ok(Element::I32),
        (b"i8", b"<") => Ok(Element::I64),
        (b"f4", b"<") => Ok(Element::F32),
        (b"f8", b"<") => Ok(Element::F64),
        _ => Err(format!(
            "the type {}{} isn't read; <i4, <i8, <f4 and <f8 are",
            order.escape_ascii(),
            name.escape_ascii()
        )),
    }
}
