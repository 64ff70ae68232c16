//! What is answered to a query. Pure.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use crate::question::{self, DATAGRAM, PLAIN, Transport};
use crate::table::{Table, Upstream};

/// Seconds that an answer may be kept: a container's addresses change with each of its runs.
const TTL: u32 = 1;

/// What becomes of a query.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// This is sent.
    Reply(Vec<u8>),
    /// Somebody else is asked.
    Forward(Upstream),
    /// Nothing is said: it is no query.
    Silence,
}

/// Where the next rotation of addresses begins, for each kind of its own: resolvers ask for both kinds
/// at once.
#[derive(Debug, Default)]
pub(crate) struct Turns([AtomicUsize; 2]);

impl Turns {
    fn next(&self, kind: RecordType) -> usize {
        let [ipv4, ipv6] = &self.0;
        match kind {
            RecordType::AAAA => ipv6,
            _ => ipv4,
        }
        .fetch_add(1, Ordering::Relaxed)
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asker<'a> {
    /// The container with this id.
    Container(&'a str),
    /// The host, for names in this domain.
    Host(&'a str),
}

/// Answers a query.
pub(crate) fn answer(
    table: &Table,
    asker: Asker<'_>,
    packet: &[u8],
    transport: Transport,
    turns: &Turns,
) -> Outcome {
    // Never an answer to an answer: two servers could go on like that forever.
    if packet.len() < question::HEADER || question::is_response(packet) {
        return Outcome::Silence;
    }
    let plain = |code: ResponseCode| {
        question::bare(packet, code.low(), false).map_or(Outcome::Silence, Outcome::Reply)
    };
    let Ok(query) = Message::from_vec(packet) else {
        return plain(ResponseCode::FormErr);
    };
    if query.metadata.message_type != MessageType::Query {
        return Outcome::Silence;
    }
    if query.metadata.op_code != OpCode::Query {
        return plain(ResponseCode::NotImp);
    }
    let ([asked], Some(_)) = (query.queries.as_slice(), question::end(packet)) else {
        return plain(ResponseCode::FormErr);
    };
    let found = match asked.query_class() {
        DNSClass::IN => look_up(table, asker, asked.name(), asked.query_type(), turns),
        _ => Found::Elsewhere,
    };
    let (code, data) = match found {
        Found::Data(data) => (ResponseCode::NoError, data),
        Found::NoSuchName => (ResponseCode::NXDomain, Vec::new()),
        Found::Elsewhere => match upstream(table, asker) {
            None => return plain(ResponseCode::Refused),
            // What can't be asked of anybody else isn't there: such networks are a world of their own.
            Some(Upstream::Nobody) => (ResponseCode::NXDomain, Vec::new()),
            Some(upstream) => return Outcome::Forward(upstream),
        },
    };
    let mut reply = Message::response(query.metadata.id, OpCode::Query);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.authoritative = true;
    reply.metadata.response_code = code;
    reply.add_query(asked.clone());
    reply.add_answers(
        data.into_iter()
            .map(|data| Record::from_rdata(asked.name().clone(), TTL, data)),
    );
    let mut limit = PLAIN;
    if let Some(asked) = &query.edns {
        if asked.version() != 0 {
            reply.metadata.response_code = ResponseCode::BADVERS;
            reply.answers.clear();
        }
        let mut edns = Edns::new();
        edns.set_max_payload(DATAGRAM as u16);
        edns.set_rcode_high(reply.metadata.response_code.high());
        reply.set_edns(edns);
        limit = usize::from(asked.max_payload()).clamp(PLAIN, DATAGRAM);
    }
    match reply.to_vec() {
        Ok(reply) if transport == Transport::Tcp || reply.len() <= limit => Outcome::Reply(reply),
        Ok(_) => question::bare(packet, code.low(), true).map_or(Outcome::Silence, Outcome::Reply),
        Err(_) => plain(ResponseCode::ServFail),
    }
}

enum Found {
    Data(Vec<RData>),
    NoSuchName,
    Elsewhere,
}

/// Whom to ask for what isn't ours; nothing where nobody is ever asked.
fn upstream(table: &Table, asker: Asker<'_>) -> Option<Upstream> {
    match asker {
        Asker::Container(id) => Some(table.upstream(id)),
        Asker::Host(_) => None,
    }
}

/// The addresses of a name: `Some(None)` if there is no such name, `None` if it isn't ours.
fn addresses(table: &Table, asker: Asker<'_>, name: &Name) -> Option<Option<Vec<IpAddr>>> {
    let text = text(name);
    match asker {
        Asker::Container(id) => Some(Some(table.addresses(id, &text?)?)),
        Asker::Host(domain) => match text {
            Some(text) => table.host().addresses(domain, &text),
            None => in_domain(name, domain).then_some(None),
        },
    }
}

/// Whether a name ends in a domain, whatever its characters.
fn in_domain(name: &Name, domain: &str) -> bool {
    let mut labels = name.iter().rev();
    let mut wanted = domain.rsplit('.');
    wanted.all(|label| {
        let own = labels.next();
        own.is_some_and(|own| own.eq_ignore_ascii_case(label.as_bytes()))
    })
}

/// The name of an address: `Some(None)` if it has none, `None` if it isn't ours.
fn host_of(table: &Table, asker: Asker<'_>, ip: IpAddr) -> Option<Option<String>> {
    match asker {
        Asker::Container(id) => Some(table.name(id, ip)?.map(str::to_owned)),
        Asker::Host(domain) => table.host().name(domain, ip),
    }
}

fn look_up(table: &Table, asker: Asker<'_>, name: &Name, kind: RecordType, turns: &Turns) -> Found {
    if let Some(ip) = reversed(name) {
        let wanted = matches!(kind, RecordType::PTR | RecordType::ANY);
        return match host_of(table, asker, ip) {
            Some(Some(host)) => match Name::from_ascii(host) {
                Ok(mut host) if wanted => {
                    host.set_fqdn(true);
                    Found::Data(vec![RData::PTR(PTR(host))])
                }
                _ => Found::Data(Vec::new()),
            },
            Some(None) => Found::NoSuchName,
            None => Found::Elsewhere,
        };
    }
    let addresses = match addresses(table, asker, name) {
        Some(Some(addresses)) => addresses,
        Some(None) => return Found::NoSuchName,
        None => return Found::Elsewhere,
    };
    let mut data: Vec<RData> = addresses
        .into_iter()
        .filter_map(|ip| match (ip, kind) {
            (IpAddr::V4(ip), RecordType::A | RecordType::ANY) => Some(RData::A(A(ip))),
            (IpAddr::V6(ip), RecordType::AAAA | RecordType::ANY) => Some(RData::AAAA(AAAA(ip))),
            _ => None,
        })
        .collect();
    if data.len() > 1 {
        let shift = turns.next(kind) % data.len();
        data.rotate_left(shift);
    }
    Found::Data(data)
}

/// A name as text; nothing if it has characters that no container's name has.
fn text(name: &Name) -> Option<String> {
    let mut text = String::with_capacity(name.len());
    for label in name.iter() {
        let label = std::str::from_utf8(label).ok()?;
        if label.contains(['.', '\0']) {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(label);
    }
    Some(text)
}

/// The address that a name is the reverse of, if it is that of a whole one.
fn reversed(name: &Name) -> Option<IpAddr> {
    // Cheaper than to ask the parser, which reports an error for each other name.
    let last = name.iter().next_back()?;
    if !last.eq_ignore_ascii_case(b"arpa") || !matches!(name.num_labels(), 6 | 34) {
        return None;
    }
    Some(name.parse_arpa_name().ok()?.addr())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Snapshot;
    use proptest::prelude::*;

    fn query(name: &str, kind: RecordType, payload: Option<u16>) -> Vec<u8> {
        let mut query = Message::new(0x1234, MessageType::Query, OpCode::Query);
        let mut name = Name::from_ascii(name).unwrap();
        name.set_fqdn(true);
        query.add_query(hickory_proto::op::Query::query(name, kind));
        query.metadata.recursion_desired = true;
        if let Some(payload) = payload {
            let mut edns = Edns::new();
            edns.set_max_payload(payload);
            query.set_edns(edns);
        }
        query.to_vec().unwrap()
    }

    fn ask(asker: &str, packet: &[u8]) -> Outcome {
        let table = Table::new(&Snapshot::sample());
        let asker = match asker {
            "the host" => Asker::Host("coracle"),
            id => Asker::Container(id),
        };
        answer(&table, asker, packet, Transport::Udp, &Turns::default())
    }

    fn reply(asker: &str, packet: &[u8]) -> Message {
        match ask(asker, packet) {
            Outcome::Reply(reply) => Message::from_vec(&reply).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn data(asker: &str, name: &str, kind: RecordType) -> (ResponseCode, Vec<String>) {
        let reply = reply(asker, &query(name, kind, None));
        assert_eq!(reply.metadata.id, 0x1234);
        assert!(reply.metadata.recursion_desired && reply.metadata.recursion_available);
        assert_eq!(reply.queries.len(), 1);
        let answers = reply.answers.iter().map(|record| record.data.to_string());
        (reply.metadata.response_code, answers.collect())
    }

    #[test]
    fn data_no_data_and_no_name() {
        let none = Vec::new;
        let ok = ResponseCode::NoError;
        assert_eq!(
            data("one", "ONE", RecordType::A),
            (ok, vec!["10.1.0.2".into()])
        );
        assert_eq!(
            data("one", "one", RecordType::AAAA),
            (ok, vec!["fd00:1::2".into()])
        );
        assert_eq!(data("one", "three", RecordType::AAAA), (ok, none()));
        assert_eq!(data("one", "three", RecordType::MX), (ok, none()));
        assert_eq!(
            data("two", "one", RecordType::A),
            (ResponseCode::NXDomain, none())
        );
        let forwarded = ask("one", &query("two", RecordType::A, None));
        assert_eq!(forwarded, Outcome::Forward(Upstream::Host));
    }

    #[test]
    fn reversed_names() {
        let ptr = |name| data("one", name, RecordType::PTR);
        let ok = ResponseCode::NoError;
        assert_eq!(
            ptr("3.0.1.10.in-addr.arpa"),
            (ok, vec!["three.front.".into()])
        );
        let whole = format!("2{}.1.0.0.0.0.0.d.f.ip6.arpa", ".0".repeat(23));
        assert_eq!(ptr(&whole), (ok, vec!["One.front.".into()]));
        assert_eq!(
            ptr("9.0.1.10.in-addr.arpa"),
            (ResponseCode::NXDomain, vec![])
        );
        let elsewhere = query("1.100.51.198.in-addr.arpa", RecordType::PTR, None);
        assert_eq!(ask("one", &elsewhere), Outcome::Forward(Upstream::Host));
    }

    #[test]
    fn the_host_is_told_of_containers_and_nothing_else() {
        let host = |name, kind| data("the host", name, kind);
        let (ok, none) = (ResponseCode::NoError, Vec::new);
        assert_eq!(
            host("Two.Coracle", RecordType::A),
            (ok, vec!["10.2.0.2".into()])
        );
        assert_eq!(
            host("one.front.coracle", RecordType::AAAA),
            (ok, vec!["fd00:1::2".into()])
        );
        let no_data = ["two.coracle", "front.coracle", "coracle"];
        for name in no_data {
            assert_eq!(host(name, RecordType::AAAA), (ok, none()), "{name}");
            assert_eq!(host(name, RecordType::MX), (ok, none()), "{name}");
        }
        for name in ["gone.coracle", "web.coracle", "a\\.b.coracle"] {
            assert_eq!(
                host(name, RecordType::A),
                (ResponseCode::NXDomain, none()),
                "{name}"
            );
        }
        // Of bytes that are no text.
        let odd = |top| Name::from_labels([b"\xff".as_slice(), top]).unwrap();
        assert!(in_domain(&odd(b"Coracle"), "coracle"));
        assert!(!in_domain(&odd(b"xcoracle"), "coracle"));
        assert!(!in_domain(&odd(b"test"), "x.y.test"));
        let ptr = |name| host(name, RecordType::PTR);
        assert_eq!(
            ptr("2.0.3.10.in-addr.arpa"),
            (ok, vec!["plain.coracle.".into()])
        );
        assert_eq!(
            ptr("9.0.3.10.in-addr.arpa"),
            (ResponseCode::NXDomain, none())
        );
        let others = [
            "two",
            "example.com",
            "localhost",
            "a.host.docker.internal",
            "xcoracle",
            ".",
            "1.100.51.198.in-addr.arpa",
        ];
        for name in others {
            for kind in [RecordType::A, RecordType::PTR] {
                let code = host(name, kind).0;
                assert_eq!(code, ResponseCode::Refused, "{name}");
            }
        }
    }

    #[test]
    fn addresses_rotate() {
        let table = Table::new(&Snapshot::sample());
        let turns = Turns::default();
        let first = |kind| {
            let packet = query("web", kind, None);
            let asker = Asker::Container("one");
            match answer(&table, asker, &packet, Transport::Udp, &turns) {
                Outcome::Reply(reply) => Message::from_vec(&reply).unwrap().answers[0]
                    .data
                    .to_string(),
                other => panic!("{other:?}"),
            }
        };
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(first(RecordType::A));
            first(RecordType::AAAA);
        }
        assert_eq!(seen, ["10.1.0.2", "10.1.0.3", "10.1.0.2", "10.1.0.3"]);
    }

    #[test]
    fn long_answers_are_cut_to_what_is_taken() {
        let mut snapshot = Snapshot::sample();
        let many = (0..100).map(|n| IpAddr::from([10, 1, 1, n]));
        snapshot.containers[0].endpoints[0].addresses = many.collect();
        let table = Table::new(&snapshot);
        let turns = Turns::default();
        let mut lengths = Vec::new();
        for (payload, transport) in [
            (None, Transport::Udp),
            (Some(4096), Transport::Udp),
            (None, Transport::Tcp),
        ] {
            let packet = query("one", RecordType::A, payload);
            let asker = Asker::Container("one");
            let Outcome::Reply(reply) = answer(&table, asker, &packet, transport, &turns) else {
                panic!("no reply");
            };
            let message = Message::from_vec(&reply).unwrap();
            assert_eq!(message.metadata.truncation, transport == Transport::Udp);
            lengths.push(message.answers.len());
        }
        assert_eq!(lengths, [0, 0, 100]);
    }

    #[test]
    fn edns_is_answered_by_edns() {
        let message = reply("one", &query("one", RecordType::A, Some(4096)));
        assert_eq!(message.edns.unwrap().max_payload(), DATAGRAM as u16);
        assert!(
            reply("one", &query("one", RecordType::A, None))
                .edns
                .is_none()
        );
        let mut future = Message::from_vec(&query("one", RecordType::A, Some(4096))).unwrap();
        future.edns.as_mut().unwrap().set_version(1);
        let message = reply("one", &future.to_vec().unwrap());
        assert_eq!(
            message.edns.unwrap().rcode_high(),
            ResponseCode::BADVERS.high()
        );
    }

    #[test]
    fn what_is_no_query() {
        let packet = query("one", RecordType::A, None);
        let with = |at: usize, value: u8| {
            let mut packet = packet.clone();
            packet[at] = value;
            packet
        };
        assert_eq!(ask("one", &with(2, 0x81)), Outcome::Silence);
        assert_eq!(ask("one", b"short"), Outcome::Silence);
        let code = |packet: &[u8]| reply("one", packet).metadata.response_code;
        assert_eq!(code(&with(2, 0x28)), ResponseCode::NotImp);
        assert_eq!(code(&with(5, 2)), ResponseCode::FormErr);
        assert_eq!(code(&packet[..14]), ResponseCode::FormErr);
    }

    proptest! {
        #[test]
        fn no_packet_breaks_it(packet in proptest::collection::vec(any::<u8>(), 0..300)) {
            crate::fuzz(&packet);
        }

        #[test]
        fn no_damaged_query_breaks_it(at in 0_usize..60, value in any::<u8>(), cut in 0_usize..60) {
            let mut packet = query("one.front", RecordType::A, Some(1232));
            if let Some(byte) = packet.get_mut(at) {
                *byte = value;
            }
            crate::fuzz(&packet);
            packet.truncate(cut);
            crate::fuzz(&packet);
        }

        #[test]
        fn any_name_is_answered_or_forwarded(name in "[a-zA-Z0-9_.-]{1,60}") {
            if let Ok(parsed) = Name::from_ascii(&name) {
                let packet = query(&parsed.to_ascii(), RecordType::A, None);
                prop_assert_ne!(ask("one", &packet), Outcome::Silence);
                let told = ask("the host", &packet);
                prop_assert!(matches!(told, Outcome::Reply(_)), "{told:?}");
            }
        }
    }
}
