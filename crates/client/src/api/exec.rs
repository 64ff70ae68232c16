//! Further processes in running containers.

use coracle_docker::container::IdResponse;
use coracle_docker::exec::{ExecCreateBody, ExecInspect, ExecStartBody};

use super::containers::about;
use crate::client::Client;
use crate::error::Result;
use crate::hijack::Hijacked;
use crate::query::Query;

fn exec(id: &str, verb: &str) -> Query {
    Query::named("/exec/", id, verb)
}

impl Client {
    /// Makes ready a further process; gives its id.
    pub async fn create_exec(&self, name: &str, body: &ExecCreateBody) -> Result<String> {
        let made: IdResponse = self.post_json(&about(name, "/exec"), body).await?;
        Ok(made.id)
    }

    /// Starts it, attached to.
    pub async fn start_exec(
        &self,
        id: &str,
        tty: bool,
        size: Option<[u16; 2]>,
    ) -> Result<Hijacked> {
        let body = ExecStartBody {
            detach: false,
            tty,
            console_size: size,
        };
        self.hijack(&exec(id, "/start"), Some(&body)).await
    }

    /// Starts it, with nobody attached.
    pub async fn start_exec_detached(&self, id: &str, tty: bool) -> Result<()> {
        let body = ExecStartBody {
            detach: true,
            tty,
            console_size: None,
        };
        self.post_body(&exec(id, "/start"), &body).await.map(drop)
    }

    /// How it is.
    pub async fn inspect_exec(&self, id: &str) -> Result<ExecInspect> {
        self.get(&exec(id, "/json")).await
    }

    /// Sets the size of its terminal.
    pub async fn resize_exec(&self, id: &str, rows: u16, columns: u16) -> Result<()> {
        let query = exec(id, "/resize").number("h", Some(rows.into()));
        self.post(&query.number("w", Some(columns.into())))
            .await
            .map(drop)
    }
}
