//! Guest kernels: what virtual machines boot.

use coracle_native::Page;
use coracle_native::kernel::{Kernel, KernelDefault, KernelInstall};
use coracle_native::query::{Nothing, PageQuery};

use super::call::{Call, Json, NoBody};
use super::error::Answer;
use super::page::page;
use super::reply::{Created, Done, Found};
use super::table::{Route, Table};

/// The name by which the default one is looked at; no kernel has it.
const DEFAULT: &str = "default";

pub(super) fn declare(table: &mut Table) {
    table.route(
        Route::get("/kernels", "Lists guest kernels").fails(&[501]),
        list,
    );
    let install = Route::post("/kernels", "Installs a guest kernel from the daemon's host");
    table.route(install.fails(&[404, 409, 501]), install_one);
    let default = Route::get("/kernels/default", "Looks at the default kernel");
    table.route(default.fails(&[404, 501]), inspect_default);
    let choose = Route::put("/kernels/default", "Chooses the default kernel");
    table.route(choose.fails(&[404, 409, 501]), set_default);
    let one = Route::get("/kernels/{kernel}", "Looks at a guest kernel");
    table.route(one.fails(&[404, 501]), inspect);
    let remove = Route::delete("/kernels/{kernel}", "Removes a guest kernel");
    table.route(remove.fails(&[404, 409, 501]), remove_one);
}

async fn list(call: Call<PageQuery, NoBody>) -> Answer<Found<Page<Kernel>>> {
    let kernels = call.api.runtime.list_kernels().await?;
    let (limit, cursor) = (call.query.limit, call.query.cursor);
    page(
        kernels,
        |one| one.name.clone(),
        limit,
        cursor.as_deref(),
        Into::into,
    )
    .map(Found)
}

async fn install_one(call: Call<Nothing, Json<KernelInstall>>) -> Answer<Created<Kernel>> {
    let kernel = call.api.runtime.install_kernel(call.body.0.into()).await?;
    Ok(Created(kernel.into()))
}

async fn inspect(call: Call<Nothing, NoBody>) -> Answer<Found<Kernel>> {
    Ok(Found(
        call.api.runtime.inspect_kernel(&call.name).await?.into(),
    ))
}

async fn inspect_default(call: Call<Nothing, NoBody>) -> Answer<Found<Kernel>> {
    Ok(Found(
        call.api.runtime.inspect_kernel(DEFAULT).await?.into(),
    ))
}

async fn set_default(call: Call<Nothing, Json<KernelDefault>>) -> Answer<Done> {
    call.api
        .runtime
        .set_default_kernel(&call.body.0.name)
        .await?;
    Ok(Done)
}

async fn remove_one(call: Call<Nothing, NoBody>) -> Answer<Done> {
    call.api.runtime.remove_kernel(&call.name).await?;
    Ok(Done)
}
