//! `system dns create`.

use clap::Args;
use coracle_client::Host;

use super::resolved::Resolved;
use super::{Place, blocking};
use crate::app::Run;
use crate::context::Context;
use crate::error::{Error, FAILURE, Result};
use crate::output::{print, warn};

#[derive(Args, Debug)]
pub(crate) struct CreateArgs {}

impl Run for CreateArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let client = context.client().await?;
        if !matches!(client.host(), Host::Unix(_)) {
            return Err(Error::advice(
                format!("the daemon at {} is not on this host", client.host()),
                "run the command where the daemon runs",
            ));
        }
        let told = client.info().await?.host_dns;
        let Some(place) = Place::of(&told)? else {
            return Err(Error::advice(
                "the daemon answers no questions of the host's",
                "start it with --host-dns 127.0.0.1:2053, or put \"host-dns\": \"127.0.0.1:2053\" \
                 into its daemon.json",
            ));
        };
        if !told.unavailable.is_empty() {
            return Err(Error::usage(told.unavailable));
        }
        let made = place.clone();
        let done = blocking(move || {
            let resolved = Resolved::default();
            match resolved.is_active() {
                true => resolved.tell(&made).map(|()| true),
                false => Ok(false),
            }
        });
        if done.await? {
            print(&format!("{}\n", place.domain))?;
            return Ok(0);
        }
        print(&by_hand(&place))?;
        warn(
            "systemd-resolved does not run here: put these lines where the host's resolver reads them",
        );
        Ok(FAILURE)
    }
}

/// What other resolvers are to be told, for people to do so.
fn by_hand(place: &Place) -> String {
    let Place { address, domain } = place;
    let (ip, port) = (address.ip(), address.port());
    format!(
        "# dnsmasq: /etc/dnsmasq.d/coracle.conf\n\
         # NetworkManager with dns=dnsmasq: /etc/NetworkManager/dnsmasq.d/coracle.conf\n\
         server=/{domain}/{ip}#{port}\n\
         \n\
         # unbound: /etc/unbound/unbound.conf.d/coracle.conf\n\
         server:\n    \
             do-not-query-localhost: no\n    \
             domain-insecure: \"{domain}\"\n\
         forward-zone:\n    \
             name: \"{domain}\"\n    \
             forward-addr: {ip}@{port}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_other_resolvers() {
        let place = Place {
            address: "[::1]:2053".parse().unwrap(),
            domain: "a.test".into(),
        };
        let text = by_hand(&place);
        for line in [
            "server=/a.test/::1#2053",
            "    name: \"a.test\"",
            "    forward-addr: ::1@2053",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}: {text}");
        }
    }
}
