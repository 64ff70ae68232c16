//! The fuzz targets' bodies over samples that are damaged at random, for as many seconds each as
//! `CORACLE_FUZZ_SECONDS` says. A failure prints the input.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use coracle_fuzz_bodies::{BODIES, samples};

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next()).unwrap_or(0) % limit.max(1)
    }
}

/// A sample with some bytes changed, removed, doubled or joined with another sample's.
fn damaged(random: &mut Random, samples: &[Vec<u8>]) -> Vec<u8> {
    let mut data = samples[random.below(samples.len())].clone();
    for _ in 0..random.below(8) {
        let at = random.below(data.len());
        match random.below(7) {
            0 if !data.is_empty() => data[at] = random.next().to_le_bytes()[0],
            1 if !data.is_empty() => data[at] ^= 1 << random.below(8),
            2 => data.truncate(at),
            3 => data.insert(at, b"\0\xff/.:@\"{[9\n"[random.below(11)]),
            4 => {
                let end = at + random.below(data.len() - at);
                data.drain(at..end);
            }
            5 => {
                let end = at + random.below((data.len() - at).min(64));
                let piece = data[at..end].to_vec();
                data.splice(at..at, piece);
            }
            _ => {
                let other = &samples[random.below(samples.len())];
                let from = random.below(other.len());
                data.splice(at.., other[from..].iter().copied());
            }
        }
        data.truncate(1 << 16);
    }
    data
}

#[test]
fn no_input_breaks_a_promise() {
    let seconds = std::env::var("CORACLE_FUZZ_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let limit = Duration::from_secs(seconds.unwrap_or(3));
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let only = std::env::var("CORACLE_FUZZ_ONLY").ok();
    for (name, body) in BODIES {
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let samples = samples(name);
        assert!(!samples.is_empty(), "{name} has no samples");
        samples.iter().for_each(|sample| body(sample));
        let mut random = Random(now.as_nanos() as u64 | 1);
        let begun = Instant::now();
        let mut count = 0;
        while begun.elapsed() < limit {
            let data = damaged(&mut random, &samples);
            count += 1;
            if catch_unwind(AssertUnwindSafe(|| body(&data))).is_err() {
                panic!("{name} fails on {:?}", data.escape_ascii().to_string());
            }
        }
        println!("{name}: {count} inputs");
    }
}
