//! Images. A name's slashes are written `%2F` in paths.

use coracle_native::Page;
use coracle_native::image::{
    HistoryEntry, Image, ImagePull, ImagePush, ImageTag, ImagesPrune, ImagesRemoved,
};
use coracle_native::query::{ImageRemoveQuery, Nothing, PageQuery, SaveQuery};
use coracle_native::stream::ProgressLine;
use coracle_runtime::Filters;
use coracle_runtime::image::{Progress, RemoveImageOptions};
use coracle_runtime::io::BoxStream;
use futures_util::StreamExt;

use super::call::{Archive, Call, Json, NoBody, Optional};
use super::error::{Answer, NativeError};
use super::page::{newest, page};
use super::reply::{Done, Found, Lines, Tar};
use super::table::{Route, Table};

pub(super) fn declare(table: &mut Table) {
    table.route(Route::get("/images", "Lists images, newest first"), list);
    let pull = Route::post("/images/pull", "Pulls an image: its progress line by line");
    table.route(pull.fails(&[404, 409, 501, 502]), pull_one);
    let clear = Route::post("/images/prune", "Removes unused images");
    table.route(clear, prune);
    let one = Route::get("/images/{image}", "Looks at an image");
    table.route(one.fails(&[404, 409]), inspect);
    let remove = Route::delete(
        "/images/{image}",
        "Takes a name off, and removes what has none then",
    );
    table.route(remove.fails(&[404, 409]), remove_one);
    let history = Route::get(
        "/images/{image}/history",
        "Lists an image's steps, newest first",
    );
    table.route(history.fails(&[404, 409]), list_history);
    let tag = Route::post("/images/{image}/tag", "Puts a name on an image");
    table.route(tag.fails(&[404, 409]), tag_one);
    let push = Route::post(
        "/images/{image}/push",
        "Pushes an image: its progress line by line",
    );
    table.route(push.fails(&[404, 409, 501, 502]), push_one);
    let save = Route::get(
        "/image-archives",
        "Saves images as a tar that is an OCI layout and a Docker archive at once",
    );
    table.route(save.fails(&[404, 409, 501]), save_some);
    let load = Route::post("/image-archives", "Loads images of such a tar");
    table.route(load.fails(&[409, 501]), load_some);
}

async fn list(call: Call<PageQuery, NoBody>) -> Answer<Found<Page<Image>>> {
    let images = call.api.runtime.list_images(false).await?;
    let (limit, cursor) = (call.query.limit, call.query.cursor);
    page(
        images,
        |one| newest(one.created.unwrap_or_default(), &one.id),
        limit,
        cursor.as_deref(),
        Into::into,
    )
    .map(Found)
}

async fn inspect(call: Call<Nothing, NoBody>) -> Answer<Found<Image>> {
    Ok(Found(
        call.api.runtime.inspect_image(&call.name).await?.into(),
    ))
}

async fn list_history(call: Call<Nothing, NoBody>) -> Answer<Found<Vec<HistoryEntry>>> {
    let history = call.api.runtime.image_history(&call.name).await?;
    Ok(Found(history.into_iter().map(Into::into).collect()))
}

async fn tag_one(call: Call<Nothing, Json<ImageTag>>) -> Answer<Done> {
    call.api
        .runtime
        .tag_image(&call.name, &call.body.0.name)
        .await?;
    Ok(Done)
}

async fn remove_one(call: Call<ImageRemoveQuery, NoBody>) -> Answer<Found<ImagesRemoved>> {
    let options = RemoveImageOptions {
        force: call.query.force,
        no_prune: call.query.keep_parents,
    };
    let removed = call.api.runtime.remove_image(&call.name, options).await?;
    Ok(Found(ImagesRemoved::new(removed, 0)))
}

async fn prune(call: Call<Nothing, Optional<ImagesPrune>>) -> Answer<Found<ImagesRemoved>> {
    let body = call.body.0;
    let mut filters = Filters::default();
    filters.add("dangling", if body.all { "false" } else { "true" });
    for label in body.labels {
        filters.add("label", label);
    }
    let pruned = call.api.runtime.prune_images(&filters).await?;
    Ok(Found(ImagesRemoved::new(
        pruned.removed,
        pruned.space_reclaimed,
    )))
}

fn lines(steps: BoxStream<Progress>) -> BoxStream<ProgressLine> {
    steps.map(|step| step.map(ProgressLine::from)).boxed()
}

async fn pull_one(call: Call<Nothing, Json<ImagePull>>) -> Answer<Lines<ProgressLine>> {
    let steps = call.api.runtime.pull_image(call.body.0.into()).await?;
    Lines::begun(lines(steps), &call.gone).await
}

async fn push_one(call: Call<Nothing, Optional<ImagePush>>) -> Answer<Lines<ProgressLine>> {
    let request = call.body.0.request(call.name);
    let steps = call.api.runtime.push_image(request).await?;
    Lines::begun(lines(steps), &call.gone).await
}

async fn save_some(call: Call<SaveQuery, NoBody>) -> Answer<Tar> {
    if call.query.name.is_empty() {
        return Err(NativeError::invalid("name: say which images"));
    }
    Tar::begun(call.api.runtime.save_images(&call.query.name).await?).await
}

async fn load_some(call: Call<Nothing, Archive>) -> Answer<Lines<ProgressLine>> {
    let steps = call.api.runtime.load_images(call.body.0).await?;
    Lines::begun(lines(steps), &call.gone).await
}
