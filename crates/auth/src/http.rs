//! The backend `http`: asks an HTTP server with RabbitMQ's parameters and reads its answers.
//!
//! RabbitMQ docs: rabbitmq_auth_backend_http. It remembers nothing; each question is one request.

use crate::SetupError;
use crate::settings::{HttpMethod, HttpSettings};
use crate::standing::Who;
use broker::auth::{Credentials, Question};
use bytes::Bytes;
use http_client::{Client, HttpError, Limits, Method, Request, Url, header};
use std::fmt::Write as _;
use transport::ClientTls;

/// Longest answer: `allow` and tags.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// As much of an answer that is none as error texts show.
const SHOWN_CHARS_MAX: usize = 200;

/// An HTTP server that knows users.
#[derive(Debug)]
pub(crate) struct Http {
    client: Client,
    settings: HttpSettings,
}

/// Why it did not say yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// It said no.
    Denied {
        /// Why, if clients may know.
        reason: Option<String>,
    },
    /// It did not answer, or not as it should.
    Failed(String),
}

impl Http {
    pub(crate) fn new(settings: &HttpSettings) -> Result<Self, SetupError> {
        let urls = [
            &settings.user_path,
            &settings.vhost_path,
            &settings.resource_path,
            &settings.topic_path,
        ];
        let tls = if urls.iter().any(|url| url.is_https()) {
            let tls = ClientTls::new(&settings.tls);
            Some(tls.map_err(|error| SetupError(format!("auth_http: {error}")))?)
        } else {
            None
        };
        let limits = Limits {
            timeout: settings.request_timeout,
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        let client = Client::new(tls, limits).with_connect_timeout(settings.connection_timeout);
        Ok(Self {
            client,
            settings: settings.clone(),
        })
    }

    /// Lets a user in, with tags.
    pub(crate) async fn authenticate(
        &self,
        credentials: &Credentials,
    ) -> Result<Vec<Box<str>>, Problem> {
        let mut form = Form::default();
        form.push("username", &credentials.user);
        if let Some(password) = &credentials.password {
            form.push_bytes("password", password.expose());
        }
        let body = self.send(&self.settings.user_path, form).await?;
        if let Some(reason) = body.strip_prefix("deny ") {
            let user = &credentials.user;
            tracing::info!("HTTP authentication denied for user '{user}': {reason}");
            return Err(Problem::Denied { reason: None });
        }
        let answer = body.to_lowercase();
        match answer.strip_prefix("allow") {
            Some(tags) => Ok(tags.split_whitespace().map(Box::from).collect()),
            None if answer == "deny" => Err(Problem::Denied { reason: None }),
            None => Err(bad_response(&answer)),
        }
    }

    /// Says whether a user may do something.
    pub(crate) async fn ask(&self, who: &Who, question: &Question) -> Result<(), Problem> {
        let mut form = Form::default();
        form.push("username", &who.name);
        let url = match question {
            Question::Vhost(vhost) => {
                form.push("vhost", vhost);
                form.push("ip", &who.address.to_canonical().to_string());
                form.push("tags", &who.tags.join(" "));
                &self.settings.vhost_path
            }
            Question::Resource {
                vhost,
                kind,
                name,
                action,
            } => {
                form.push("vhost", vhost);
                form.push("resource", &kind.to_string());
                form.push("name", name);
                form.push("permission", action.name());
                form.push("tags", &who.tags.join(" "));
                &self.settings.resource_path
            }
            Question::Topic {
                vhost,
                exchange,
                action,
                routing_key,
                client_id,
            } => {
                form.push("vhost", vhost);
                form.push("resource", "topic");
                form.push("name", exchange);
                form.push("permission", action.name());
                form.push("tags", &who.tags.join(" "));
                form.push("routing_key", routing_key);
                if let Some(client_id) = client_id {
                    form.push("variable_map.client_id", client_id);
                }
                form.push("variable_map.username", &who.name);
                form.push("variable_map.vhost", vhost);
                &self.settings.topic_path
            }
        };
        let body = self.send(url, form).await?;
        if let Some(reason) = body.strip_prefix("deny ") {
            tracing::info!(user = %who.name, "HTTP authorization denied for path {url}: {reason}");
            let reason = self
                .settings
                .discloses_reasons
                .then(|| reason.trim().to_owned());
            return Err(Problem::Denied { reason });
        }
        match &*body.to_lowercase() {
            "allow" => Ok(()),
            "deny" => Err(Problem::Denied { reason: None }),
            answer => Err(bad_response(answer)),
        }
    }

    /// Sends a form and reads a short text.
    async fn send(&self, url: &Url, form: Form) -> Result<String, Problem> {
        let asked;
        let mut request = Request::new(Bytes::new());
        let url = match self.settings.method {
            HttpMethod::Get => {
                let separator = if url.target().contains('?') { '&' } else { '?' };
                asked = url.with_target(&format!("{}{separator}{}", url.target(), form.0));
                &asked
            }
            HttpMethod::Post => {
                *request.method_mut() = Method::POST;
                let kind = header::HeaderValue::from_static("application/x-www-form-urlencoded");
                request.headers_mut().insert(header::CONTENT_TYPE, kind);
                *request.body_mut() = form.0.into();
                url
            }
        };
        let answer = self.client.send(url, request).await.map_err(failed)?;
        let body = String::from_utf8_lossy(&answer.body);
        match answer.status.as_u16() {
            200 | 201 => Ok(body.trim().to_owned()),
            code => Err(Problem::Failed(format!("{{{code},{:?}}}", shown(&body)))),
        }
    }
}

fn failed(error: HttpError) -> Problem {
    Problem::Failed(match error {
        HttpError::Timeout(_) => "timeout".to_owned(),
        HttpError::Connect { .. } | HttpError::Answer { .. } | HttpError::NoTls(_) => {
            error.to_string()
        }
    })
}

fn bad_response(answer: &str) -> Problem {
    Problem::Failed(format!("{{bad_response,{:?}}}", shown(answer)))
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

/// Parameters as they are written in a query or a form.
#[derive(Debug, Default)]
struct Form(String);

impl Form {
    fn push(&mut self, key: &str, value: &str) {
        self.push_bytes(key, value.as_bytes());
    }

    fn push_bytes(&mut self, key: &str, value: &[u8]) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(key);
        self.0.push('=');
        for byte in value {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'~' | b'_' => {
                    self.0.push(char::from(*byte));
                }
                b' ' => self.0.push('+'),
                byte => write!(self.0, "%{byte:02X}").expect("a string takes everything"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted() {
        let mut form = Form::default();
        form.push("username", "a b&c=d/ü~");
        form.push_bytes("password", b"\xff%");
        assert_eq!(form.0, "username=a+b%26c%3Dd%2F%C3%BC~&password=%FF%25");
    }
}
