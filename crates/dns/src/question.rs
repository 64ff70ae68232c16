//! A message's outside: its header and question, read without trusting it. RFC 1035, 4.1.

/// Bytes of a header.
pub(crate) const HEADER: usize = 12;
/// What every resolver takes in one datagram.
pub(crate) const PLAIN: usize = 512;
/// What we send in one datagram at most, so that nothing is fragmented (RFC 9715).
pub(crate) const DATAGRAM: usize = 1232;

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

impl Transport {
    /// Bytes that whoever sent a query by UDP takes as its answer. An EDNS record's class is that
    /// number (RFC 6891, 6.1.2).
    pub(crate) fn limit(query: &[u8]) -> usize {
        hickory_proto::op::Message::from_vec(query)
            .ok()
            .and_then(|message| message.edns)
            .map_or(PLAIN, |edns| usize::from(edns.max_payload()).max(PLAIN))
    }
}

/// The end of the only question, if there is exactly one and its name is plain.
pub(crate) fn end(message: &[u8]) -> Option<usize> {
    if message.get(4..6)? != [0, 1] {
        return None;
    }
    let mut at = HEADER;
    loop {
        match usize::from(*message.get(at)?) {
            0 => break,
            // Pointers (the top bits) have nothing to point to yet.
            length @ 1..=63 => at += length + 1,
            _ => return None,
        }
        if at > HEADER + 254 {
            return None;
        }
    }
    // The root label, type and class.
    let end = at + 5;
    (message.len() >= end).then_some(end)
}

/// Whether it is an answer.
pub(crate) fn is_response(message: &[u8]) -> bool {
    message.get(2).is_some_and(|flags| flags & 0x80 != 0)
}

/// The response code.
pub(crate) fn code(message: &[u8]) -> Option<u8> {
    message.get(3).map(|flags| flags & 0x0f)
}

/// An answer without records: the query's header and question, a code, and perhaps the mark that
/// it is to be asked again by TCP.
pub(crate) fn bare(query: &[u8], code: u8, truncated: bool) -> Option<Vec<u8>> {
    let end = end(query).unwrap_or(HEADER);
    let mut reply = query.get(..end)?.to_vec();
    // Opcode and recursion desired stay (RFC 1035, 4.1.1); recursion is available.
    *reply.get_mut(2)? = 0x80 | (reply.get(2)? & 0x79) | if truncated { 2 } else { 0 };
    *reply.get_mut(3)? = 0x80 | (code & 0x0f);
    let counts = reply.get_mut(4..HEADER)?;
    counts.fill(0);
    if end > HEADER {
        *counts.get_mut(1)? = 1;
    }
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &[u8] = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x03web\0\0\x01\0\x01";

    #[test]
    fn the_question_ends_where_it_ends() {
        assert_eq!(end(QUERY), Some(QUERY.len()));
        for cut in 0..QUERY.len() {
            assert_eq!(end(&QUERY[..cut]), None, "{cut}");
        }
        let pointer = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\xc0\x0c\0\x01\0\x01";
        assert_eq!(end(pointer), None);
        let mut long = QUERY[..HEADER].to_vec();
        long.extend(std::iter::repeat_n(*b"\x01a", 200).flatten());
        long.extend(b"\0\0\x01\0\x01");
        assert_eq!(end(&long), None);
    }

    #[test]
    fn an_answer_without_records() {
        let reply = bare(QUERY, 2, true).unwrap();
        assert_eq!(&reply[..4], b"\x12\x34\x83\x82");
        assert_eq!(&reply[4..], &QUERY[4..]);
        assert_eq!(bare(&QUERY[..HEADER], 1, false).unwrap().len(), HEADER);
        assert_eq!(bare(&QUERY[..5], 1, false), None);
    }
}
