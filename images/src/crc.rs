//! Cyclic redundancy checks of 32 bits, reflected, as GPT and EROFS have them.

/// What each value of a byte adds to a check.
pub(crate) type Table = [u32; 256];

/// CRC-32 of ISO 3309 (UEFI specification, "GUID Partition Table").
pub(crate) static ISO: Table = table(0xedb8_8320);
/// CRC-32C of Castagnoli.
pub(crate) static CASTAGNOLI: Table = table(0x82f6_3b78);

const fn table(polynomial: u32) -> Table {
    let mut table: Table = [0; 256];
    let mut byte: u32 = 0;
    while byte < 256 {
        let mut check = byte;
        let mut bit = 0;
        while bit < 8 {
            check = (check >> 1) ^ (polynomial & (check & 1).wrapping_neg());
            bit += 1;
        }
        table[byte as usize] = check;
        byte += 1;
    }
    table
}

/// Continues a check with `bytes`; it starts at `u32::MAX`. Not inverted at its end.
pub(crate) fn update(table: &Table, check: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(check, |check, byte| {
        let [low, ..] = check.to_le_bytes();
        (check >> 8) ^ table[usize::from(low ^ byte)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_those_of_the_catalogue() {
        assert_eq!(!update(&ISO, u32::MAX, b"123456789"), 0xcbf4_3926);
        assert_eq!(!update(&CASTAGNOLI, u32::MAX, b"123456789"), 0xe306_9283);
    }
}
