//! `--secret` and `--config`, in podman's syntax: `NAME[,target=…,uid=…,gid=…,mode=…]`.

use clap::Args;
use coracle_docker::container::CreateBody;
use coracle_docker::secret::FileReference;

use super::pairs;
use crate::error::{Error, Result};

#[derive(Args, Debug)]
#[command(next_help_heading = "Storage")]
pub(super) struct SecretOptions {
    /// Secret as a file: NAME[,target=PATH][,uid=UID][,gid=GID][,mode=MODE]
    #[arg(long, value_name = "SECRET")]
    secret: Vec<String>,
    /// Config as a file, likewise
    #[arg(long, value_name = "CONFIG")]
    config: Vec<String>,
}

impl SecretOptions {
    pub(super) fn apply(&self, body: &mut CreateBody) -> Result<()> {
        let all = |option: &'static str, given: &[String]| {
            let parsed = given.iter().map(|text| parse(option, text));
            parsed.collect::<Result<_>>()
        };
        body.host_config.secrets = all("--secret", &self.secret)?;
        body.host_config.configs = all("--config", &self.config)?;
        Ok(())
    }
}

fn parse(option: &'static str, text: &str) -> Result<FileReference> {
    let refuse = |why: &str| Error::option(option, text, why);
    let mut file = FileReference::default();
    for (number, field) in pairs::fields(option, text)?.iter().enumerate() {
        let Some((key, value)) = field.split_once('=') else {
            if number > 0 {
                return Err(refuse(&format!("{field:?} must be a key=value pair")));
            }
            file.source.clone_from(field);
            continue;
        };
        match key.to_ascii_lowercase().as_str() {
            "source" | "src" => value.clone_into(&mut file.source),
            "target" | "dst" | "destination" => value.clone_into(&mut file.target),
            "uid" => value.clone_into(&mut file.uid),
            "gid" => value.clone_into(&mut file.gid),
            "mode" => {
                let mode = u32::from_str_radix(value, 8);
                file.mode = Some(mode.map_err(|_| refuse("mode is no octal number"))?);
            }
            "type" if value == "mount" => {}
            "type" if value == "env" => {
                return Err(refuse(
                    "type=env is not supported: everybody who may inspect the container would see \
                     the value; use a file",
                ));
            }
            _ => return Err(refuse(&format!("unknown option {field:?}"))),
        }
    }
    if file.source.is_empty() {
        return Err(refuse("its name is missing"));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read() {
        let file = parse("--secret", "db").unwrap();
        assert_eq!((file.source.as_str(), file.mode), ("db", None));
        let long = "source=db,type=mount,target=/etc/x,uid=1,gid=2,mode=0400";
        for text in [long, "db,dst=/etc/x,UID=1,gid=2,mode=400"] {
            let file = parse("--secret", text).unwrap();
            assert_eq!(
                (file.source.as_str(), file.target.as_str()),
                ("db", "/etc/x")
            );
            assert_eq!((file.uid.as_str(), file.gid.as_str()), ("1", "2"));
            assert_eq!(file.mode, Some(0o400));
        }
        for bad in ["", "target=x", "a,b", "a,mode=9", "a,type=env", "a,x=y"] {
            assert!(parse("--secret", bad).is_err(), "{bad}");
        }
        let refused = parse("--secret", "a,type=env,target=X").unwrap_err();
        assert!(format!("{refused:?}").contains("type=env"));
    }
}
