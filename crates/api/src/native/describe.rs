//! What the API's description (OpenAPI 3.1) says of a route, and the schemas that it refers to.

use std::collections::BTreeMap;

use coracle_native::ErrorBody;
use http::StatusCode;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, SchemaType, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, HeaderBuilder, Info, OpenApi, OpenApiBuilder, Paths, Ref,
    RefOr, Required, ResponseBuilder, Schema, Server,
};
use utoipa::{PartialSchema, ToSchema};

use super::call::Input;
use super::reply::Reply;
use super::table::{Method, Route};

/// The schemas that descriptions refer to, by name.
#[derive(Default)]
pub(crate) struct Schemas(BTreeMap<String, RefOr<Schema>>);

impl Schemas {
    /// Adds a type, and all that it is made of.
    pub(crate) fn add<T: ToSchema>(&mut self) {
        let mut parts = vec![(schema_name::<T>(), T::schema())];
        T::schemas(&mut parts);
        for (name, schema) in parts {
            let before = self.0.insert(name, schema.clone());
            debug_assert!(
                before.is_none_or(|before| before == schema),
                "two types have one name"
            );
        }
    }

    /// Adds a type, and gives what refers to it.
    pub(crate) fn reference<T: ToSchema>(&mut self) -> Ref {
        self.add::<T>();
        Ref::from_schema_name(schema_name::<T>())
    }
}

/// A type's name without modules: `Page<Container>` is `PageOfContainer`.
fn schema_name<T: ?Sized>() -> String {
    let words = std::any::type_name::<T>().split(['<', '>']);
    let words = words.filter_map(|word| word.rsplit("::").next().filter(|word| !word.is_empty()));
    words.collect::<Vec<_>>().join("Of")
}

/// Bytes that are no JSON.
pub(crate) fn binary() -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)))
        .into()
}

/// The failures that every route has.
const COMMON: [u16; 6] = [400, 401, 403, 429, 500, 503];
/// Those of routes with a body.
const WITH_BODY: [u16; 3] = [408, 413, 415];

/// One route.
pub(super) fn operation<Q: ToSchema, B: Input, R: Reply>(
    route: &Route,
    schemas: &mut Schemas,
) -> OperationBuilder {
    let body = B::describe(schemas);
    let (status, mut reply) = R::describe(schemas);
    let id_header = HeaderBuilder::new()
        .schema(Some(String::schema()))
        .description(Some("The request's id."))
        .build();
    reply
        .headers
        .insert("X-Request-Id".to_owned(), id_header.clone().into());
    let mut operation = OperationBuilder::new()
        .tag(route.path.split('/').nth(1).unwrap_or_default())
        .summary(Some(route.summary))
        .operation_id(Some(operation_id(route)))
        .response(status.as_str(), reply);
    let bodily: &[u16] = if body.is_some() { &WITH_BODY } else { &[] };
    for code in COMMON.iter().chain(bodily).chain(route.fails) {
        let reason = StatusCode::from_u16(*code).ok();
        let reason = reason.and_then(|status| status.canonical_reason());
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(schema_name::<ErrorBody>())))
            .build();
        let failure = ResponseBuilder::new()
            .description(reason.unwrap_or_default())
            .content("application/json", content)
            .header("X-Request-Id", id_header.clone());
        operation = operation.response(code.to_string(), failure.build());
    }
    if let Some(body) = body {
        operation = operation.request_body(Some(body));
    }
    if let Some((_, rest)) = route.path.split_once('{') {
        let name = rest.split('}').next().unwrap_or_default();
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1));
        operation = operation.parameter(
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .description(Some(
                    "An id, a name, or the beginning of an id that fits only one.",
                ))
                .schema(Some(schema)),
        );
    }
    query_parameters::<Q>(operation, schemas)
}

/// The fields of the query's type, each as a parameter.
fn query_parameters<Q: ToSchema>(
    mut operation: OperationBuilder,
    schemas: &mut Schemas,
) -> OperationBuilder {
    let RefOr::T(Schema::Object(object)) = Q::schema() else {
        return operation;
    };
    let mut parts = Vec::new();
    Q::schemas(&mut parts);
    schemas.0.extend(parts);
    for (name, mut schema) in object.properties {
        without_null(&mut schema);
        let description = match &schema {
            RefOr::T(Schema::Object(field)) => field.description.clone(),
            RefOr::T(Schema::Array(field)) => field.description.clone(),
            _ => None,
        };
        let required = object.required.contains(&name);
        operation = operation.parameter(
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Query)
                .required(if required {
                    Required::True
                } else {
                    Required::False
                })
                .description(description)
                .schema(Some(schema)),
        );
    }
    operation
}

/// A query has no null: what is not given is left out.
fn without_null(schema: &mut RefOr<Schema>) {
    let RefOr::T(Schema::Object(field)) = schema else {
        return;
    };
    if let SchemaType::Array(types) = &mut field.schema_type {
        types.retain(|kind| *kind != Type::Null);
        if let [only] = &types[..] {
            field.schema_type = SchemaType::Type(only.clone());
        }
    }
}

/// `GET /containers/{name}/logs` is `getContainersNameLogs`.
fn operation_id(route: &Route) -> String {
    let mut id = match route.method {
        Method::Get => "get",
        Method::Post => "post",
        Method::Put => "put",
        Method::Patch => "patch",
        Method::Delete => "delete",
    }
    .to_owned();
    for word in route.path.split(|c: char| !c.is_ascii_alphanumeric()) {
        let mut letters = word.chars();
        id.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        id.push_str(letters.as_str());
    }
    id
}

/// The whole.
pub(super) fn document(paths: Paths, schemas: Schemas) -> OpenApi {
    let mut info = Info::new("Coracle's native API", "1");
    info.description = Some(
        "Containers, images, networks and volumes. Failures are one JSON object; every answer has \
         an X-Request-Id. Over TCP, once keys are configured, a key or a client certificate is \
         needed; on the unix socket neither is."
            .to_owned(),
    );
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas.0)
        .security_scheme(
            "key",
            SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
        )
        .build();
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([Server::new("/api/v1")]))
        .paths(paths)
        .components(Some(components))
        .security(Some([
            SecurityRequirement::default(),
            SecurityRequirement::new("key", Vec::<String>::new()),
        ]))
        .build()
}
