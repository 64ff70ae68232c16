#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coracle_fuzz_bodies::kernel_image(data));
