//! What V8 does not refuse in a WebAssembly module: memories that are shared.

/// Sections of a module (WebAssembly, section 5.5.2).
const IMPORTS: u8 = 2;
const MEMORIES: u8 = 5;
/// A memory's limits: there is a maximum; it is shared; its pages have a size of their own (sections 5.3.9 and 5.3.10).
const HAS_MAXIMUM: u8 = 1;
const SHARED: u8 = 2;
const PAGE_SIZE: u8 = 8;

/// Whether the module defines or imports a shared memory. `None` when its bytes cannot be followed; V8 has validated them, so
/// that is something newer than this function.
pub fn shares_memory(module: &[u8]) -> Option<bool> {
    let mut rest = Reader(module.get(8..)?);
    let mut shares = false;
    while !rest.0.is_empty() {
        let section = rest.byte()?;
        let length = rest.number()?;
        let mut content = Reader(rest.bytes(length)?);
        match section {
            IMPORTS => {
                for _ in 0..content.number()? {
                    shares |= content.import()?;
                }
            }
            MEMORIES => {
                for _ in 0..content.number()? {
                    shares |= content.limits()? & SHARED != 0;
                }
            }
            _ => {}
        }
    }
    Some(shares)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// LEB128, unsigned; of a signed one only the length is right.
    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn bytes(&mut self, length: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }

    /// Their flags.
    fn limits(&mut self) -> Option<u8> {
        let flags = self.byte()?;
        self.number()?;
        if flags & HAS_MAXIMUM != 0 {
            self.number()?;
        }
        if flags & PAGE_SIZE != 0 {
            self.number()?;
        }
        Some(flags)
    }

    fn value_type(&mut self) -> Option<()> {
        // References that name what they refer to have it behind them.
        if matches!(self.byte()?, 0x63 | 0x64) {
            self.number()?;
        }
        Some(())
    }

    /// Whether it is a shared memory.
    fn import(&mut self) -> Option<bool> {
        for _ in ["module", "name"] {
            let length = self.number()?;
            self.bytes(length)?;
        }
        match self.byte()? {
            0 => {
                self.number()?;
            }
            1 => {
                self.value_type()?;
                self.limits()?;
            }
            2 => return Some(self.limits()? & SHARED != 0),
            3 => {
                self.value_type()?;
                self.byte()?;
            }
            4 => {
                self.byte()?;
                self.number()?;
            }
            _ => return None,
        }
        Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::shares_memory;

    fn module(sections: &[(u8, &[u8])]) -> Vec<u8> {
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        for (id, content) in sections {
            module.extend([*id, content.len() as u8]);
            module.extend_from_slice(content);
        }
        module
    }

    #[test]
    fn memories_are_told_apart() {
        assert_eq!(shares_memory(&module(&[])), Some(false));
        assert_eq!(shares_memory(&module(&[(5, &[1, 0, 1])])), Some(false));
        assert_eq!(shares_memory(&module(&[(5, &[1, 1, 1, 0x80, 0x80, 4])])), Some(false));
        assert_eq!(shares_memory(&module(&[(0, &[1, b'x', 5, 1, 3]), (5, &[1, 3, 1, 2])])), Some(true));
        assert_eq!(shares_memory(&module(&[(5, &[2, 5, 1, 2, 7, 1, 2])])), Some(true));
        assert_eq!(shares_memory(&module(&[(5, &[2, 9, 1, 2, 0, 3, 1, 2])])), Some(true));
    }

    #[test]
    fn imported_memories_are_found_behind_other_imports() {
        let imports: &[&[u8]] = &[
            &[1, b'm', 1, b'f', 0, 0x80, 1],
            &[1, b'm', 0, 1, 0x70, 1, 0, 5],
            &[0, 0, 1, 0x63, 0x6f, 0, 5],
            &[0, 0, 3, 0x7f, 1],
            &[0, 0, 3, 0x64, 0x80, 1, 0],
            &[0, 0, 4, 0, 2],
        ];
        let with = |memory: &[u8]| {
            let mut content = vec![imports.len() as u8 + 1];
            content.extend(imports.concat());
            content.extend_from_slice(memory);
            shares_memory(&module(&[(2, &content)]))
        };
        assert_eq!(with(&[0, 0, 2, 1, 1, 1]), Some(false));
        assert_eq!(with(&[0, 0, 2, 3, 1, 1]), Some(true));
    }

    #[test]
    fn what_cannot_be_followed_is_no_answer() {
        assert_eq!(shares_memory(b"\0asm"), None);
        assert_eq!(shares_memory(&module(&[(5, &[1, 3])])), None);
        assert_eq!(shares_memory(&module(&[(2, &[1, 0, 0, 9])])), None);
        assert_eq!(shares_memory(b"\0asm\x01\0\0\0\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), None);
    }
}
