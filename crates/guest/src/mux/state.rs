//! What is known of each channel, and what is to be sent.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use bytes::{Buf, BytesMut};

use super::{Direction, MAX_CHANNELS, WINDOW};
use crate::error::{Error, Result};
use crate::frame::{Frame, Kind, MAX_DATA, MAX_REASON, Violation, put_frame, put_header};

/// How much may wait to be sent on a channel, credit or not.
const OUTBOX: usize = 64 << 10;

/// The way from the other side to this one.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    pub(crate) inbox: BytesMut,
    /// How much the other side may still send.
    credit: usize,
    /// How much was read and not given back as credit.
    consumed: usize,
    /// Nothing more comes.
    ended: bool,
    /// Nobody reads any more.
    dropped: bool,
    pub(crate) waker: Option<Waker>,
}

/// The way to the other side.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    outbox: BytesMut,
    /// How much the other side lets us send.
    credit: usize,
    /// Nothing more is written.
    ended: bool,
    /// The other side was told, or doesn't want to know.
    done: bool,
    pub(crate) waker: Option<Waker>,
}

#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) incoming: Incoming,
    pub(crate) outgoing: Outgoing,
    /// Why it was reset, by either side.
    pub(crate) reset: Option<Arc<str>>,
    /// Whose frames are to be sent.
    owed: Owed,
    is_queued: bool,
    /// Somebody has the [`Channel`](super::Channel), or is to get it.
    is_held: bool,
    is_taken: bool,
}

#[derive(Debug, Default)]
struct Owed {
    stop: bool,
    reset: bool,
}

#[derive(Debug)]
pub(crate) struct State {
    is_host: bool,
    channels: HashMap<u32, Entry>,
    /// The last id that was given out.
    last: u32,
    /// Those that have something to send, in turns.
    queue: VecDeque<u32>,
    /// Channels that the other side hasn't been told of.
    opened: Vec<(u32, Direction)>,
    /// Channels that were refused.
    refused: VecDeque<u32>,
    /// Calls that are given up.
    cancelled: Vec<u32>,
    closed: Option<Arc<str>>,
    /// Whoever sends and receives.
    pub(crate) driver: Option<Waker>,
}

impl State {
    pub(crate) fn new(is_host: bool) -> Self {
        Self {
            is_host,
            channels: HashMap::new(),
            last: 0,
            queue: VecDeque::new(),
            opened: Vec::new(),
            refused: VecDeque::new(),
            cancelled: Vec::new(),
            closed: None,
            driver: None,
        }
    }

    pub(crate) fn open(&mut self, direction: Direction) -> Result<u32> {
        if let Some(why) = &self.closed {
            return Err(Error::Gone(why.clone()));
        }
        if self.channels.len() >= MAX_CHANNELS {
            return Err(Error::TooManyChannels);
        }
        let id = self.last.checked_add(1).ok_or(Error::TooManyChannels)?;
        self.last = id;
        let mut entry = Entry::new(direction, true);
        entry.is_taken = true;
        self.channels.insert(id, entry);
        self.opened.push((id, direction));
        self.wake();
        Ok(id)
    }

    pub(crate) fn take(&mut self, id: u32) -> bool {
        match self.channels.get_mut(&id) {
            Some(entry) if !entry.is_taken => {
                entry.is_taken = true;
                true
            }
            _ => false,
        }
    }

    pub(crate) fn get(&mut self, id: u32) -> Option<&mut Entry> {
        self.channels.get_mut(&id)
    }

    /// A call is given up.
    pub(crate) fn cancel(&mut self, call: u32) {
        if self.closed.is_none() {
            self.cancelled.push(call);
            self.wake();
        }
    }

    pub(crate) fn receive(&mut self, frame: &Frame) -> Result<(), Violation> {
        let Frame { kind, id, payload } = frame;
        if *kind == Kind::Open {
            return self.opened(*id, payload);
        }
        let Some(entry) = self.channels.get_mut(id) else {
            return match *id != 0 && *id <= self.last {
                true => Ok(()),
                false => Err(format!("a frame for channel {id}, which never was")),
            };
        };
        match kind {
            Kind::Data => entry.data(payload)?,
            Kind::Credit => {
                let bytes: [u8; 4] = payload[..].try_into().map_err(|_| "a short credit")?;
                entry.credited(u32::from_le_bytes(bytes) as usize)?;
                if entry.outgoing.outbox.is_empty() {
                    return Ok(());
                }
            }
            Kind::End => entry.ended(),
            Kind::Stop => entry.stopped(),
            Kind::Reset => {
                let reason = String::from_utf8_lossy(payload);
                entry.reset(&Arc::from(reason.as_ref()));
                entry.owed.reset = false;
            }
            _ => return Err(format!("an unexpected frame of kind {kind:?}")),
        }
        self.touch(*id);
        Ok(())
    }

    fn opened(&mut self, id: u32, payload: &[u8]) -> Result<(), Violation> {
        let direction = payload.first().copied().and_then(Direction::parse);
        let Some(direction) = direction.filter(|_| !self.is_host && id > self.last) else {
            return Err(format!("channel {id} can't be opened"));
        };
        self.last = id;
        // What the host has forgotten may still be read here.
        if self.channels.len() >= 2 * MAX_CHANNELS {
            if self.refused.len() >= MAX_CHANNELS {
                return Err("too many channels".into());
            }
            self.refused.push_back(id);
            self.wake();
            return Ok(());
        }
        self.channels.insert(id, Entry::new(direction, false));
        Ok(())
    }

    /// Queues a channel: it may have something to send, or be over.
    pub(crate) fn touch(&mut self, id: u32) {
        let Some(entry) = self.channels.get_mut(&id) else {
            return;
        };
        if entry.is_over() {
            self.channels.remove(&id);
        } else if !entry.is_queued && entry.has_frames() {
            entry.is_queued = true;
            self.queue.push_back(id);
            self.wake();
        }
    }

    /// The channel's owner let go of it.
    pub(crate) fn release(&mut self, id: u32) {
        if let Some(entry) = self.channels.get_mut(&id) {
            entry.is_held = false;
            entry.drop_reader();
            entry.outgoing.ended = true;
            self.touch(id);
        }
    }

    fn wake(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }

    pub(crate) fn put_opens(&mut self, buf: &mut BytesMut) {
        for (id, direction) in self.opened.drain(..) {
            put_frame(buf, Kind::Open, id, &[direction.to_byte()]);
        }
    }

    pub(crate) fn fill(&mut self, buf: &mut BytesMut, limit: usize) {
        self.put_opens(buf);
        for call in self.cancelled.drain(..) {
            put_frame(buf, Kind::Cancel, call, &[]);
        }
        for id in self.refused.drain(..) {
            put_frame(buf, Kind::Reset, id, b"too many channels");
        }
        while buf.len() < limit {
            let Some(id) = self.queue.pop_front() else {
                return;
            };
            let Some(entry) = self.channels.get_mut(&id) else {
                continue;
            };
            entry.is_queued = false;
            entry.put(id, buf);
            self.touch(id);
        }
    }

    pub(crate) fn close(&mut self, why: &str) {
        let why: Arc<str> = why.into();
        for entry in self.channels.values_mut() {
            entry.reset(&why);
            entry.owed = Owed::default();
        }
        self.channels
            .retain(|_, entry| entry.is_held && entry.is_taken);
        self.queue.clear();
        self.opened.clear();
        self.refused.clear();
        self.cancelled.clear();
        self.closed.get_or_insert(why);
        self.wake();
    }
}

impl Entry {
    fn new(direction: Direction, is_host: bool) -> Self {
        let sends = match direction {
            Direction::Both => true,
            Direction::ToGuest => is_host,
            Direction::ToHost => !is_host,
        };
        let receives = direction == Direction::Both || !sends;
        Self {
            incoming: Incoming {
                credit: if receives { WINDOW } else { 0 },
                ended: !receives,
                dropped: !receives,
                ..Incoming::default()
            },
            outgoing: Outgoing {
                credit: if sends { WINDOW } else { 0 },
                ended: !sends,
                done: !sends,
                ..Outgoing::default()
            },
            is_held: true,
            ..Self::default()
        }
    }

    fn data(&mut self, data: &[u8]) -> Result<(), Violation> {
        let incoming = &mut self.incoming;
        if self.reset.is_some() {
            return Ok(());
        }
        if incoming.ended && !incoming.dropped {
            return Err("data after the end".into());
        }
        incoming.credit = incoming
            .credit
            .checked_sub(data.len())
            .ok_or("data over the credit")?;
        if !incoming.dropped {
            incoming.inbox.extend_from_slice(data);
            wake(&mut incoming.waker);
        }
        Ok(())
    }

    fn credited(&mut self, more: usize) -> Result<(), Violation> {
        let outgoing = &mut self.outgoing;
        outgoing.credit += more;
        if outgoing.credit > WINDOW {
            return Err("credit over the window".into());
        }
        Ok(())
    }

    fn ended(&mut self) {
        self.incoming.ended = true;
        wake(&mut self.incoming.waker);
    }

    fn stopped(&mut self) {
        let outgoing = &mut self.outgoing;
        outgoing.outbox = BytesMut::new();
        outgoing.ended = true;
        outgoing.done = true;
        wake(&mut outgoing.waker);
    }

    /// Both ways end at once. What came before can still be read.
    pub(crate) fn reset(&mut self, why: &Arc<str>) {
        if self.reset.is_some() {
            return;
        }
        self.reset = Some(why.clone());
        self.ended();
        self.stopped();
    }

    /// This side gives the channel up, and says why.
    pub(crate) fn fail(&mut self, why: &str) {
        if self.reset.is_none() {
            let mut end = why.len().min(MAX_REASON);
            while !why.is_char_boundary(end) {
                end -= 1;
            }
            self.reset(&Arc::from(why.get(..end).unwrap_or_default()));
            self.owed.reset = true;
        }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.incoming.ended && self.incoming.inbox.is_empty()
    }

    /// Bytes were read: in large steps they become credit.
    pub(crate) fn consume(&mut self, bytes: usize) {
        if !self.incoming.ended {
            self.incoming.consumed += bytes;
        }
    }

    pub(crate) fn drop_reader(&mut self) {
        let incoming = &mut self.incoming;
        incoming.inbox = BytesMut::new();
        if !incoming.dropped && !incoming.ended {
            self.owed.stop = true;
        }
        incoming.dropped = true;
        incoming.ended = true;
    }

    pub(crate) fn end_writer(&mut self) {
        self.outgoing.ended = true;
    }

    /// How much more can be written now; `None` if nothing ever.
    pub(crate) fn room(&self) -> Option<usize> {
        match self.outgoing.ended {
            true => None,
            false => Some(OUTBOX.saturating_sub(self.outgoing.outbox.len())),
        }
    }

    pub(crate) fn write(&mut self, data: &[u8]) {
        self.outgoing.outbox.extend_from_slice(data);
    }

    /// Whether all that was written is on its way.
    pub(crate) fn is_flushed(&self) -> bool {
        self.outgoing.outbox.is_empty()
    }

    fn owes_credit(&self) -> bool {
        self.incoming.consumed >= WINDOW / 2 && !self.incoming.ended
    }

    fn owes_end(&self) -> bool {
        let outgoing = &self.outgoing;
        outgoing.ended && !outgoing.done && outgoing.outbox.is_empty()
    }

    fn has_frames(&self) -> bool {
        let has_data = !self.outgoing.outbox.is_empty() && self.outgoing.credit > 0;
        let owed = &self.owed;
        owed.stop || owed.reset || has_data || self.owes_credit() || self.owes_end()
    }

    fn is_over(&self) -> bool {
        !self.is_held && self.incoming.ended && self.outgoing.done && !self.has_frames()
    }

    /// Puts what there is to be sent, of data one frame.
    fn put(&mut self, id: u32, buf: &mut BytesMut) {
        if std::mem::take(&mut self.owed.reset) {
            let reason = self.reset.as_deref().unwrap_or_default();
            put_frame(buf, Kind::Reset, id, reason.as_bytes());
            self.owed = Owed::default();
            return;
        }
        if std::mem::take(&mut self.owed.stop) {
            put_frame(buf, Kind::Stop, id, &[]);
        }
        if self.owes_credit() {
            let credit = std::mem::take(&mut self.incoming.consumed);
            self.incoming.credit += credit;
            let credit = u32::try_from(credit).unwrap_or(u32::MAX);
            put_frame(buf, Kind::Credit, id, &credit.to_le_bytes());
        }
        let outgoing = &mut self.outgoing;
        let length = outgoing.outbox.len().min(outgoing.credit).min(MAX_DATA);
        if length > 0 {
            put_header(buf, Kind::Data, id, length);
            buf.extend_from_slice(outgoing.outbox.get(..length).unwrap_or_default());
            outgoing.outbox.advance(length);
            outgoing.credit -= length;
            wake(&mut outgoing.waker);
        }
        if self.owes_end() {
            put_frame(buf, Kind::End, id, &[]);
            self.outgoing.done = true;
        }
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
