//! Values as they lie in a row: owned, encoded without ambiguity, ordered as SQLite orders them.

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Row, Statement};
use std::cmp::Ordering;
use std::fmt;

/// A value that outlives its row. Text is kept as its octets: SQLite holds any.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl From<ValueRef<'_>> for Cell {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(value) => Self::Integer(value),
            ValueRef::Real(value) => Self::Real(value),
            ValueRef::Text(value) => Self::Text(value.to_owned()),
            ValueRef::Blob(value) => Self::Blob(value.to_owned()),
        }
    }
}

impl Cell {
    fn borrowed(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Integer(value) => ValueRef::Integer(*value),
            Self::Real(value) => ValueRef::Real(*value),
            Self::Text(value) => ValueRef::Text(value),
            Self::Blob(value) => ValueRef::Blob(value),
        }
    }

    fn class(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Integer(_) | Self::Real(_) => 1,
            Self::Text(_) => 2,
            Self::Blob(_) => 3,
        }
    }

    /// The order of `ORDER BY ... COLLATE BINARY`. (A table's key holds no NaN: SQLite makes it NULL.)
    pub(super) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a.cmp(b),
            (Self::Real(a), Self::Real(b)) => a.total_cmp(b),
            (Self::Integer(a), Self::Real(b)) => mixed(*a, *b),
            (Self::Real(a), Self::Integer(b)) => mixed(*b, *a).reverse(),
            (Self::Text(a), Self::Text(b)) | (Self::Blob(a), Self::Blob(b)) => a.cmp(b),
            _ => self.class().cmp(&other.class()),
        }
    }
}

/// An integer against a real, exactly: not every integer has a real.
fn mixed(integer: i64, real: f64) -> Ordering {
    if real >= 9_223_372_036_854_775_808.0 {
        return Ordering::Less;
    }
    if real < -9_223_372_036_854_775_808.0 {
        return Ordering::Greater;
    }
    #[expect(clippy::cast_possible_truncation, reason = "in range by the two lines above")]
    let whole = real.trunc() as i64;
    integer.cmp(&whole).then_with(|| 0.0_f64.total_cmp(&(real.fract() + 0.0)))
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.borrowed()))
    }
}

/// As a message names a key.
impl fmt::Display for Cell {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => out.write_str("NULL"),
            Self::Integer(value) => write!(out, "{value}"),
            Self::Real(value) => write!(out, "{value}"),
            Self::Text(text) => {
                let text = String::from_utf8_lossy(text);
                text.chars()
                    .filter(|c| !c.is_control())
                    .take(64)
                    .try_for_each(|c| write!(out, "{c}"))
            }
            Self::Blob(bytes) => {
                out.write_str("x'")?;
                bytes.iter().take(32).try_for_each(|byte| write!(out, "{byte:02x}"))?;
                out.write_str("'")
            }
        }
    }
}

/// Adds a value to an encoding that no two different rows share.
pub(super) fn encode(value: ValueRef<'_>, out: &mut Vec<u8>) {
    let mut sized = |class: u8, bytes: &[u8]| {
        out.push(class);
        out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        out.extend_from_slice(bytes);
    };
    match value {
        ValueRef::Text(bytes) => sized(3, bytes),
        ValueRef::Blob(bytes) => sized(4, bytes),
        ValueRef::Null => out.push(0),
        ValueRef::Integer(value) => {
            out.push(1);
            out.extend_from_slice(&value.to_le_bytes());
        }
        ValueRef::Real(value) => {
            out.push(2);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
    }
}

/// Encodes owned values, to be read by `decode`.
pub(super) fn encode_all(cells: &[Cell]) -> Vec<u8> {
    let mut out = Vec::new();
    cells.iter().for_each(|cell| encode(cell.borrowed(), &mut out));
    out
}

/// Reads what `encode_all` wrote; none when it is damaged.
pub(super) fn decode(mut bytes: &[u8]) -> Option<Vec<Cell>> {
    fn eight(bytes: &mut &[u8]) -> Option<[u8; 8]> {
        let (first, rest) = bytes.split_first_chunk::<8>()?;
        *bytes = rest;
        Some(*first)
    }
    fn sized(bytes: &mut &[u8]) -> Option<Vec<u8>> {
        let length = usize::try_from(u64::from_le_bytes(eight(bytes)?)).ok()?;
        let (value, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        Some(value.to_owned())
    }
    let mut cells = Vec::new();
    while let Some((class, rest)) = bytes.split_first() {
        bytes = rest;
        cells.push(match class {
            0 => Cell::Null,
            1 => Cell::Integer(i64::from_le_bytes(eight(&mut bytes)?)),
            2 => Cell::Real(f64::from_bits(u64::from_le_bytes(eight(&mut bytes)?))),
            3 => Cell::Text(sized(&mut bytes)?),
            4 => Cell::Blob(sized(&mut bytes)?),
            _ => return None,
        });
    }
    Some(cells)
}

/// The columns `from..to` of a row, owned.
pub(super) fn cells(row: &Row<'_>, count: usize) -> rusqlite::Result<Vec<Cell>> {
    (0..count).map(|column| row.get_ref(column).map(Cell::from)).collect()
}

/// Binds a lower bound, then an upper one; either may be empty.
pub(super) fn bind_both(
    statement: &mut Statement<'_>,
    lower: &[Cell],
    upper: &[Cell],
) -> rusqlite::Result<()> {
    lower
        .iter()
        .chain(upper)
        .enumerate()
        .try_for_each(|(place, cell)| statement.raw_bind_parameter(place + 1, cell))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_their_encoding() {
        let cells = vec![
            Cell::Null,
            Cell::Integer(i64::MIN),
            Cell::Real(-0.0),
            Cell::Text(b"a\0b\xff".to_vec()),
            Cell::Blob(Vec::new()),
        ];
        let bytes = encode_all(&cells);
        assert_eq!(decode(&bytes), Some(cells));
        for cut in [1, 5, bytes.len() - 1] {
            let _ = decode(&bytes[..cut]);
        }
        assert_eq!(decode(&[3, 255, 255, 255, 255, 255, 255, 255, 127]), None);
        assert_eq!(decode(&[9]), None);
    }

    #[test]
    fn the_order_is_sqlites_own() {
        let connection = rusqlite::Connection::open_in_memory().expect("memory");
        connection
            .execute_batch(
                "CREATE TABLE t(v); INSERT INTO t VALUES (NULL), (-9223372036854775808), \
                 (9223372036854775807), (9.3e18), (-9.3e18), (0), (0.5), (-0.5), (1), ('a'), \
                 ('B'), (''), (x''), (x'00'), ('ä'), (9007199254740993), (9007199254740992.0), \
                 (-2), (-1.5), (-1)",
            )
            .expect("a table");
        let mut query =
            connection.prepare("SELECT v FROM t ORDER BY v COLLATE BINARY").expect("sql");
        let sorted: Vec<Cell> = query
            .query_map([], |row| row.get_ref(0).map(Cell::from))
            .expect("rows")
            .collect::<Result<_, _>>()
            .expect("rows");
        for pair in sorted.windows(2) {
            assert_eq!(pair[0].order(&pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(pair[1].order(&pair[0]), Ordering::Greater, "{pair:?}");
        }
    }
}
