//! docker compose's project, each service in a machine.

use super::daemon;

#[test]
fn a_project_of_machines() {
    let Some(d) = daemon(1) else { return };
    crate::compose::up_and_down(&d);
}
