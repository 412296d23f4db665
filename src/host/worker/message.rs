// SPDX-License-Identifier: GPL-2.0-or-later

//! What a program and its child say to each other, and how that goes over. Who says what is not
//! known here: each room that has a child do something has an enum for what it asks, and a type for
//! the answer.
//!
//! A request goes as arguments, so that `ps` shows what a child is stuck in. An answer goes as
//! bytes, in which every field has its length in front: one that was cut off, because the child was
//! killed while it wrote, is not taken for a whole one.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use crate::{Error, Result};

/// What a child is asked: arguments of a command line.
pub trait Request: Sized {
    /// The arguments.
    fn encode(&self) -> Vec<OsString>;

    /// What these arguments ask; none for those that no program of ours sends.
    fn decode(words: &[OsString]) -> Option<Self>;
}

/// A path, where there is one thing only to be done to it.
impl Request for PathBuf {
    fn encode(&self) -> Vec<OsString> {
        vec![self.into()]
    }

    fn decode(words: &[OsString]) -> Option<Self> {
        match words {
            [path] => Some(path.into()),
            _ => None,
        }
    }
}

/// What a child answers, or a part of it.
pub trait Answer: Sized {
    /// Appends it to `message`.
    fn encode(&self, message: &mut Vec<u8>);

    /// Takes one off the front of `message`; none if no such thing is there.
    fn decode(message: &mut &[u8]) -> Option<Self>;
}

/// A whole message.
pub fn encode(answer: &impl Answer) -> Vec<u8> {
    let mut message = Vec::new();
    answer.encode(&mut message);
    message
}

/// What a whole message says; none if it is cut off, too long, or something else.
pub fn decode<A: Answer>(mut message: &[u8]) -> Option<A> {
    let answer = A::decode(&mut message)?;
    message.is_empty().then_some(answer)
}

/// That something is done is all there is to say.
impl Answer for () {
    fn encode(&self, _: &mut Vec<u8>) {}

    fn decode(_: &mut &[u8]) -> Option<Self> {
        Some(())
    }
}

/// One byte, which also tells the variants of an enum from each other.
impl Answer for u8 {
    fn encode(&self, message: &mut Vec<u8>) {
        message.push(*self);
    }

    fn decode(message: &mut &[u8]) -> Option<Self> {
        let (first, rest) = message.split_first()?;
        *message = rest;
        Some(*first)
    }
}

impl Answer for bool {
    fn encode(&self, message: &mut Vec<u8>) {
        message.push(u8::from(*self));
    }

    fn decode(message: &mut &[u8]) -> Option<Self> {
        match u8::decode(message)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl Answer for u64 {
    fn encode(&self, message: &mut Vec<u8>) {
        message.extend(self.to_le_bytes());
    }

    fn decode(message: &mut &[u8]) -> Option<Self> {
        let (number, rest) = message.split_first_chunk()?;
        *message = rest;
        Some(u64::from_le_bytes(*number))
    }
}

/// Whatever bytes there are.
impl Answer for Vec<u8> {
    fn encode(&self, message: &mut Vec<u8>) {
        put(self, message);
    }

    fn decode(message: &mut &[u8]) -> Option<Self> {
        take(message).map(<[u8]>::to_vec)
    }
}

impl Answer for String {
    fn encode(&self, message: &mut Vec<u8>) {
        put(self.as_bytes(), message);
    }

    fn decode(message: &mut &[u8]) -> Option<Self> {
        String::from_utf8(take(message)?.to_vec()).ok()
    }
}

/// A path, in UTF-8 or not.
impl Answer for PathBuf {
    fn encode(&self, message: &mut Vec<u8>) {
        put(self.as_os_str().as_bytes(), message);
    }

    fn decode(message: &mut &[u8]) -> Option<Self> {
        let path = take(message)?.to_vec();
        Some(PathBuf::from(OsString::from_vec(path)))
    }
}

impl Answer for Vec<PathBuf> {
    fn encode(&self, message: &mut Vec<u8>) {
        (self.len() as u64).encode(message);
        for path in self {
            Answer::encode(path, message);
        }
    }

    fn decode(message: &mut &[u8]) -> Option<Self> {
        // Not made as large as the number says: the number is nobody's promise.
        let mut paths = Vec::new();
        for _ in 0..u64::decode(message)? {
            paths.push(<PathBuf as Answer>::decode(message)?);
        }
        Some(paths)
    }
}

impl<A: Answer> Answer for Option<A> {
    fn encode(&self, message: &mut Vec<u8>) {
        self.is_some().encode(message);
        if let Some(answer) = self {
            answer.encode(message);
        }
    }

    fn decode(message: &mut &[u8]) -> Option<Self> {
        if bool::decode(message)? {
            A::decode(message).map(Some)
        } else {
            Some(None)
        }
    }
}

/// What came of the work. Of an error its message goes over.
impl<A: Answer> Answer for Result<A> {
    fn encode(&self, message: &mut Vec<u8>) {
        match self {
            Ok(answer) => {
                message.push(b'+');
                answer.encode(message);
            }
            Err(error) => {
                message.push(b'-');
                error.to_string().encode(message);
            }
        }
    }

    fn decode(message: &mut &[u8]) -> Option<Self> {
        match u8::decode(message)? {
            b'+' => A::decode(message).map(Ok),
            b'-' => String::decode(message).map(|text| Err(Error::new(text))),
            _ => None,
        }
    }
}

/// Appends bytes with their number in front.
fn put(bytes: &[u8], message: &mut Vec<u8>) {
    (bytes.len() as u64).encode(message);
    message.extend_from_slice(bytes);
}

/// The bytes that [`put`] has put.
fn take<'m>(message: &mut &'m [u8]) -> Option<&'m [u8]> {
    let length = usize::try_from(u64::decode(message)?).ok()?;
    let (bytes, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(bytes)
}

/// The argument that names a request, and those behind it.
pub fn name_of(words: &[OsString]) -> Option<(&str, &[OsString])> {
    let (name, rest) = words.split_first()?;
    Some((name.to_str()?, rest))
}

/// The arguments of a request with a name.
pub fn named(name: &str, arguments: &[&OsStr]) -> Vec<OsString> {
    let name = OsStr::new(name);
    let words = std::iter::once(&name).chain(arguments);
    words.map(|word| (*word).to_owned()).collect()
}

/// A path that is no UTF-8.
#[cfg(test)]
pub(crate) fn latin1() -> PathBuf {
    OsString::from_vec(b"/mnt/caf\xe9\n".to_vec()).into()
}

/// That every one of these goes over whole, and nothing that is cut off does, nor what has more
/// behind it.
#[cfg(test)]
pub(crate) fn assert_goes_over<A: Answer + PartialEq + std::fmt::Debug>(answers: &[A]) {
    for answer in answers {
        let message = encode(answer);
        assert_eq!(decode::<A>(&message).as_ref(), Some(answer));
        for length in 0..message.len() {
            let cut = decode::<A>(&message[..length]);
            assert_eq!(cut, None, "{length} bytes of {answer:?}");
        }
        let longer = [&message[..], b"x"].concat();
        assert_eq!(decode::<A>(&longer), None, "{answer:?}");
    }
}

/// That every one of these requests is understood as what it is, and not with another name, without
/// its last argument, or with one more.
#[cfg(test)]
pub(crate) fn assert_is_understood<Q: Request + PartialEq + std::fmt::Debug>(requests: &[Q]) {
    for request in requests {
        let words = request.encode();
        assert_eq!(Q::decode(&words).as_ref(), Some(request));
        let mut renamed = words.clone();
        renamed[0].push("x");
        assert_ne!(Q::decode(&renamed).as_ref(), Some(request));
        assert_ne!(Q::decode(&words[..words.len() - 1]).as_ref(), Some(request));
        let longer = [&words[..], &["x".into()]].concat();
        assert_ne!(Q::decode(&longer).as_ref(), Some(request));
    }
    assert_eq!(Q::decode(&[]), None);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers() {
        // Nothing of nothing can be cut off.
        assert_eq!(decode::<()>(&encode(&())), Some(()));
        assert_eq!(decode::<()>(b"x"), None);
        assert_goes_over(&[0_u8, b'x', 255]);
        assert_goes_over(&[false, true]);
        assert_goes_over(&[0, 1, u64::MAX]);
        assert_goes_over(&[b"".to_vec(), b"\0\xff+-\0".to_vec(), vec![b'x'; 70_000]]);
        assert_goes_over(&[String::new(), "données\0".to_owned()]);
        assert_goes_over(&[PathBuf::new(), latin1()]);
        assert_goes_over(&[vec![], vec![PathBuf::new()], vec!["/a".into(), latin1()]]);
        assert_goes_over(&[None, Some(String::new()), Some("no".to_owned())]);
        assert_goes_over::<Result>(&[Ok(()), Err(Error::new("")), Err(Error::new("no\nsuch"))]);
        assert_goes_over::<Result<PathBuf>>(&[Ok(latin1()), Err(Error::new("none"))]);
    }

    #[test]
    fn what_is_no_answer() {
        assert_eq!(decode::<bool>(&[2]), None);
        assert_eq!(decode::<Result>(b""), None);
        assert_eq!(decode::<Result>(b"x"), None);
        // More than there is, and more than there could be.
        assert_eq!(decode::<Vec<u8>>(&[4, 0, 0, 0, 0, 0, 0, 0, b'a']), None);
        assert_eq!(decode::<Vec<u8>>(&[0xff; 16]), None);
        assert_eq!(decode::<Vec<PathBuf>>(&[0xff; 16]), None);
        let no_text = encode(&b"\xff".to_vec());
        assert_eq!(decode::<String>(&no_text), None);
        assert_eq!(decode::<Vec<u8>>(&no_text), Some(vec![0xff]));
    }

    #[test]
    fn requests() {
        for path in [PathBuf::from("/a"), latin1(), PathBuf::new()] {
            let words = Request::encode(&path);
            assert_eq!(<PathBuf as Request>::decode(&words), Some(path));
        }
        assert_eq!(<PathBuf as Request>::decode(&[]), None);
        let two = ["/a".into(), "/b".into()];
        assert_eq!(<PathBuf as Request>::decode(&two), None);
        let words = named("look", &["/a".as_ref(), "/b".as_ref()]);
        assert_eq!(name_of(&words), Some(("look", &words[1..])));
        assert_eq!(name_of(&[latin1().into()]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(message in prop::collection::vec(any::<u8>(), 0..40)) {
            // What is understood is what would have been written.
            if let Some(answer) = decode::<Result<Vec<PathBuf>>>(&message) {
                prop_assert_eq!(encode(&answer), message);
            }
        }
    }
}
