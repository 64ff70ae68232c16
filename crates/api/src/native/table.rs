//! The route table, which makes the router, or the API's description (OpenAPI 3.1), of the same
//! declarations: a route's query, body and answer are described by the very types that read and
//! write them, so that description and code can't differ.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use coracle_native::ErrorBody;
use http::Request;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;
use utoipa::openapi::{HttpMethod, OpenApi, Paths};

use super::call::{self, Call, Input, RequestId};
use super::describe::{Schemas, document, operation};
use super::error::Answer;
use super::reply::{Around, Reply};
use crate::Api;
use crate::connection::ClientGone;

/// What there is to say of a route beyond its types.
#[derive(Clone, Copy)]
pub(crate) struct Route {
    pub(crate) method: Method,
    /// Below `/api/v1`; `{name}` is its parameter.
    pub(crate) path: &'static str,
    /// What it does: one line.
    pub(crate) summary: &'static str,
    /// The failures that not every route has.
    pub(crate) fails: &'static [u16],
}

impl Route {
    const fn new(method: Method, path: &'static str, summary: &'static str) -> Self {
        Self {
            method,
            path,
            summary,
            fails: &[],
        }
    }

    pub(crate) const fn get(path: &'static str, summary: &'static str) -> Self {
        Self::new(Method::Get, path, summary)
    }

    pub(crate) const fn post(path: &'static str, summary: &'static str) -> Self {
        Self::new(Method::Post, path, summary)
    }

    pub(crate) const fn put(path: &'static str, summary: &'static str) -> Self {
        Self::new(Method::Put, path, summary)
    }

    pub(crate) const fn patch(path: &'static str, summary: &'static str) -> Self {
        Self::new(Method::Patch, path, summary)
    }

    pub(crate) const fn delete(path: &'static str, summary: &'static str) -> Self {
        Self::new(Method::Delete, path, summary)
    }

    /// Failures beyond those that every route has.
    pub(crate) const fn fails(self, fails: &'static [u16]) -> Self {
        Self { fails, ..self }
    }
}

/// The methods that there are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    const fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }

    const fn described(self) -> HttpMethod {
        match self {
            Self::Get => HttpMethod::Get,
            Self::Post => HttpMethod::Post,
            Self::Put => HttpMethod::Put,
            Self::Patch => HttpMethod::Patch,
            Self::Delete => HttpMethod::Delete,
        }
    }
}

/// What a table is read for.
enum Purpose {
    Serve(Router<Api>),
    Describe { paths: Paths, schemas: Schemas },
}

/// The routes of the API, as they are declared.
pub(crate) struct Table {
    purpose: Purpose,
}

impl Table {
    /// To serve.
    pub(crate) fn router(declare: impl FnOnce(&mut Self)) -> Router<Api> {
        let mut table = Self {
            purpose: Purpose::Serve(Router::new()),
        };
        declare(&mut table);
        match table.purpose {
            Purpose::Serve(router) => router,
            Purpose::Describe { .. } => Router::new(),
        }
    }

    /// To describe.
    pub(crate) fn description(declare: impl FnOnce(&mut Self)) -> OpenApi {
        let mut schemas = Schemas::default();
        schemas.add::<ErrorBody>();
        let mut table = Self {
            purpose: Purpose::Describe {
                paths: Paths::new(),
                schemas,
            },
        };
        declare(&mut table);
        match table.purpose {
            Purpose::Describe { paths, schemas } => document(paths, schemas),
            Purpose::Serve(_) => document(Paths::new(), Schemas::default()),
        }
    }

    /// Declares a route.
    pub(crate) fn route<Q, B, R, F>(&mut self, route: Route, handle: fn(Call<Q, B>) -> F)
    where
        Q: DeserializeOwned + ToSchema + Send + 'static,
        B: Input + 'static,
        R: Reply + 'static,
        F: Future<Output = Answer<R>> + Send + 'static,
    {
        match &mut self.purpose {
            Purpose::Serve(router) => {
                let handler = on(
                    route.method.filter(),
                    move |State(api): State<Api>, request: Request<Body>| {
                        answer(api, request, handle)
                    },
                );
                *router = std::mem::take(router).route(route.path, handler);
            }
            Purpose::Describe { paths, schemas } => {
                let operation = operation::<Q, B, R>(&route, schemas);
                paths.add_path_operation(route.path, vec![route.method.described()], operation);
            }
        }
    }
}

async fn answer<Q, B, R, F>(
    api: Api,
    request: Request<Body>,
    handle: fn(Call<Q, B>) -> F,
) -> Response
where
    Q: DeserializeOwned,
    B: Input,
    R: Reply,
    F: Future<Output = Answer<R>>,
{
    let around = Around {
        gone: request
            .extensions()
            .get::<ClientGone>()
            .cloned()
            .unwrap_or_else(|| ClientGone(Default::default())),
        request_id: request
            .extensions()
            .get::<RequestId>()
            .map_or_else(|| "".into(), |id| id.0.clone()),
    };
    let answered = match call::read(request, api).await {
        Ok(call) => handle(call).await,
        Err(refused) => Err(refused),
    };
    match answered {
        Ok(reply) => reply.respond(around),
        Err(error) => error.into_response(),
    }
}
