//! Inputs to begin from: what each parser is made for.

use coracle_kernel::sample;

/// Samples for a body.
#[must_use]
pub fn samples(body: &str) -> Vec<Vec<u8>> {
    let texts: &[&str] = match body {
        "reference" => &[
            "busybox",
            "docker.io/library/busybox:latest",
            "localhost:5000/team/deep/name_a.b-c:1.2-x_Y",
            "[::1]:5000/x@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "registry.example/a/b:t@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        ],
        "manifest" => &[
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","size":7},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","size":99}]}"#,
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","size":7,"platform":{"architecture":"arm","os":"linux","variant":"v7"}}]}"#,
            r#"{"architecture":"amd64","os":"linux","created":"2024-01-01T00:00:00Z","config":{"User":"1:2","Env":["A=b"],"Cmd":["sh"],"Volumes":{"/x":{}},"ExposedPorts":{"80/tcp":{}},"Healthcheck":{"Test":["CMD","x"],"Interval":1000000000}},"rootfs":{"type":"layers","diff_ids":["sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]},"history":[{"created_by":"x","empty_layer":true}]}"#,
        ],
        "seccomp_profile" => &[
            r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,"archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],"syscalls":[{"names":["read","write","clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}],"excludes":{"caps":["CAP_SYS_ADMIN"]},"includes":{"minKernel":"4.8"}}]}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],"syscalls":[{"name":"mkdir","action":"SCMP_ACT_KILL","args":[{"index":5,"value":18446744073709551615,"op":"SCMP_CMP_GT"}]}]}"#,
        ],
        "log_line" => &[
            "{\"log\":\"line\\n\",\"stream\":\"stdout\",\"time\":\"2024-01-01T00:00:00.123456789Z\"}\n{\"log\":\"part\",\"stream\":\"stderr\",\"attrs\":{\"a\":\"b\"},\"time\":\"2024-01-01T00:00:01Z\"}\n",
        ],
        "task_frame" => &["\u{9}\0\0\0\"start\"  \0", "{\"version\":1}", "\u{2}data"],
        _ => &[],
    };
    let mut samples: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    if body == "dns_packet" {
        let header = b"\x12\x34\x01\0\0\x01\0\0\0\0\0";
        let edns = b"\0\0\x29\x10\0\0\0\x80\0\0\0";
        samples.push([header.as_slice(), b"\0\x03one\0\0\x01\0\x01"].concat());
        samples.push(
            [
                header.as_slice(),
                b"\x01\x03web\x05front\0\0\x1c\0\x01",
                edns,
            ]
            .concat(),
        );
        let reversed = b"\0\x013\x010\x011\x0210\x07in-addr\x04arpa\0\0\x0c\0\x01";
        samples.push([header.as_slice(), reversed].concat());
    }
    if body == "layer_unpack" {
        // Even: entries by four bytes each. Odd: an archive as it is.
        samples.push((0..=128).map(|n: u8| n.wrapping_mul(37)).collect());
        samples.push(b"\0\x04\x04\x20\0\0\x05\0\x10\0\x06\0\x10\x03\0\x05\0".to_vec());
        let mut raw = vec![1];
        raw.extend(std::iter::repeat_n(b'a', 1536));
        samples.push(raw);
    }
    if body == "kernel_image" {
        let kernel = sample::vmlinux("6.1.0-a");
        let lz4 = sample::with_length(&sample::lz4(&kernel), kernel.len());
        samples.push(sample::bzimage("6.1.0-a", &lz4));
        samples.push(sample::bzimage("6.1.0-a", &sample::gzip(&kernel)));
        samples.push(kernel);
    }
    if body == "kernel_package" {
        samples.push(sample::whole_package("6.1.0-a"));
        samples.push(sample::package(&[(
            "boot/vmlinuz-a",
            &sample::vmlinux("6.1.0-a"),
        )]));
    }
    if body == "log_line" {
        samples.push(b"\0\0\0\x08\x0a\x06stdout\0\0\0\x08".to_vec());
    }
    samples
}
