//! Readings as they come. Containers that start while all are shown are added, those that end are
//! taken away.

use std::collections::HashSet;
use std::pin::Pin;
use std::time::Duration;

use coracle_client::{Client, Error as ClientError, EventsQuery, Filters, Lines};
use coracle_docker::event::EventMessage;
use coracle_docker::stats::StatsResponse;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::reading::cells;
use super::{COLUMNS, StatsArgs};
use crate::error::Result;
use crate::output::{Format, Output, Row, print};

/// How often the table is drawn.
const EVERY: Duration = Duration::from_millis(500);

type Next<'a> = Pin<Box<dyn Future<Output = (String, Result<Option<Reading>, ClientError>)> + 'a>>;

/// A reading, and where the next one comes from.
type Reading = (StatsResponse, Lines<StatsResponse>);

/// Draws until there is nothing more to draw, which where all are shown is never.
pub(super) async fn run(client: &Client, args: &StatsArgs, format: &Format) -> Result<u8> {
    let all = args.containers.is_empty();
    // From here on no start is missed.
    let mut events = if all {
        Some(starts(client).await?)
    } else {
        None
    };
    let mut board = Board {
        rows: Vec::new(),
        args,
    };
    let mut readings: FuturesUnordered<Next<'_>> = FuturesUnordered::new();
    let mut known = HashSet::new();
    for name in args.names(client).await? {
        known.insert(name.clone());
        readings.push(Box::pin(first(client, name)));
    }
    let mut draw = tokio::time::interval(EVERY);
    draw.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some((name, reading)) = readings.next() => match reading {
                Ok(Some((reading, lines))) => {
                    board.set(&name, cells(&reading, args.no_trunc));
                    readings.push(Box::pin(next(name, lines)));
                }
                Ok(None) => {
                    known.remove(&name);
                    board.remove(&name);
                }
                Err(error) if all && error.is_not_found() => {
                    known.remove(&name);
                    board.remove(&name);
                }
                Err(error) => return Err(error.into()),
            },
            event = started(&mut events) => match event? {
                Some(event) if known.insert(event.actor.id.clone()) => {
                    readings.push(Box::pin(first(client, event.actor.id)));
                }
                Some(_) => {}
                None => return Ok(0),
            },
            _ = draw.tick() => {
                board.draw(format)?;
                if !all && readings.is_empty() {
                    return Ok(0);
                }
            }
        }
    }
}

async fn starts(client: &Client) -> Result<Lines<EventMessage>> {
    let filters: Filters = [("type", "container"), ("event", "start")]
        .into_iter()
        .collect();
    let query = EventsQuery {
        filters,
        ..EventsQuery::default()
    };
    Ok(client.events(&query).await?)
}

async fn started(events: &mut Option<Lines<EventMessage>>) -> Result<Option<EventMessage>> {
    match events {
        Some(events) => Ok(events.next().await?),
        None => std::future::pending().await,
    }
}

async fn first(client: &Client, name: String) -> (String, Result<Option<Reading>, ClientError>) {
    match client.container_stats(&name, false).await {
        Ok(lines) => next(name, lines).await,
        Err(error) => (name, Err(error)),
    }
}

async fn next(
    name: String,
    mut lines: Lines<StatsResponse>,
) -> (String, Result<Option<Reading>, ClientError>) {
    let reading = lines.next().await;
    (name, reading.map(|reading| Some((reading?, lines))))
}

/// The rows, in the order in which their containers came.
struct Board<'a> {
    rows: Vec<(String, Row)>,
    args: &'a StatsArgs,
}

impl Board<'_> {
    fn set(&mut self, name: &str, row: Row) {
        match self.rows.iter_mut().find(|(own, _)| own == name) {
            Some((_, place)) => *place = row,
            None => self.rows.push((name.to_owned(), row)),
        }
    }

    fn remove(&mut self, name: &str) {
        // Those that were named stay, as they were last.
        if self.args.containers.is_empty() {
            self.rows.retain(|(own, _)| own != name);
        }
    }

    fn draw(&self, format: &Format) -> Result<()> {
        let rows = self.rows.iter().map(|(_, row)| row.clone()).collect();
        let text = format.text(&COLUMNS, &[("Container", "CONTAINER")], rows)?;
        if !format.is_table() || !Output::Stdout.is_terminal() {
            return print(&text);
        }
        // Home, each line up to its end, and what is left below cleared (ECMA-48).
        let lines: String = text.lines().map(|line| format!("{line}\x1b[K\n")).collect();
        print(&format!("\x1b[H{lines}\x1b[J"))
    }
}
