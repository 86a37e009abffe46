//! Providers of every kind, and what becomes of what they say.

use super::*;
use rcgen::{CertificateParams, KeyPair};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

fn certificate() -> String {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["client".to_owned()]).unwrap();
    params.self_signed(&key).unwrap().pem()
}

fn names(store: &TrustStore) -> Vec<String> {
    store.list().into_iter().map(|listed| listed.name).collect()
}

#[tokio::test]
async fn the_files_of_a_directory_are_trusted_while_they_are_there() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("a/whitelist");
    let mut settings = TrustStoreSettings::default();
    settings.set("directory", at.to_str().unwrap()).unwrap();
    let store = TrustStore::new(&settings, Path::new("/nowhere")).unwrap();
    assert!(names(&store).is_empty());

    std::fs::write(at.join("b.pem"), certificate()).unwrap();
    std::fs::write(at.join("a.pem"), certificate()).unwrap();
    std::fs::write(at.join("broken.pem"), "nonsense").unwrap();
    std::fs::write(at.join("both.pem"), certificate() + &certificate()).unwrap();
    std::fs::write(at.join(".hidden"), certificate()).unwrap();
    store.refresh().await;
    assert_eq!(names(&store), ["a.pem", "b.pem"]);

    // What was replaced by something unreadable is not trusted any more.
    std::fs::write(at.join("a.pem"), "nonsense").unwrap();
    std::fs::write(at.join("broken.pem"), certificate()).unwrap();
    store.refresh().await;
    assert_eq!(names(&store), ["b.pem", "broken.pem"]);

    // A directory that cannot be read says nothing, an empty one that nobody is trusted.
    let away = directory.path().join("away");
    std::fs::rename(&at, &away).unwrap();
    store.refresh().await;
    assert_eq!(names(&store), ["b.pem", "broken.pem"]);
    std::fs::create_dir(&at).unwrap();
    store.refresh().await;
    assert!(names(&store).is_empty());
}

#[test]
fn settings_that_would_be_ignored_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let new = |options: &[(&str, &str)]| {
        let mut settings = TrustStoreSettings::default();
        for (option, value) in options {
            settings.set(option, value).unwrap();
        }
        TrustStore::new(&settings, directory.path())
    };
    assert!(new(&[]).is_ok());
    assert!(new(&[("providers.1", "rabbit_trust_store_file_provider")]).is_ok());
    assert!(new(&[("providers.1", "http"), ("url", "http://h/")]).is_ok());
    for (options, words) in [
        (&[("url", "http://h/")][..], "url needs providers"),
        (&[("providers.1", "http")], "needs url"),
        (
            &[
                ("providers.1", "http"),
                ("url", "http://h/"),
                ("directory", "/d"),
            ],
            "directory needs providers",
        ),
        (&[("directory", "/dev/null/d")], "/dev/null/d"),
    ] {
        let error = new(options).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let mut settings = TrustStoreSettings::default();
    for (option, value) in [
        ("providers.1", "my_provider"),
        ("refresh_interval", "-1"),
        ("directory", ""),
        ("url", "ldap://h"),
        ("ssl_options.verify", "yes"),
        ("ssl_options.crl_check", "true"),
        ("color", "red"),
    ] {
        assert!(settings.set(option, value).is_err(), "{option} = {value}");
    }
}

/// A server of a few pages; counts the requests.
struct Pages {
    url: String,
    pages: Arc<Mutex<HashMap<String, String>>>,
    asked: Arc<AtomicUsize>,
}

impl Pages {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/certs/", listener.local_addr().unwrap());
        let pages: Arc<Mutex<HashMap<String, String>>> = Arc::default();
        let asked = Arc::new(AtomicUsize::new(0));
        let (served, counted) = (Arc::clone(&pages), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                counted.fetch_add(1, Ordering::Relaxed);
                let head = String::from_utf8(head).unwrap();
                let target = head.split(' ').nth(1).unwrap();
                let page = served.lock().get(target).cloned();
                let answer = match page {
                    Some(page) if head.contains(&format!("if-modified-since: {}", page.len())) => {
                        "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned()
                    }
                    // The length is as good a time as any.
                    Some(page) => format!(
                        "HTTP/1.1 200 OK\r\nlast-modified: {0}\r\ncontent-length: {0}\r\n\r\n{page}",
                        page.len()
                    ),
                    None => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
                };
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { url, pages, asked }
    }

    fn put(&self, path: &str, page: &str) {
        self.pages.lock().insert(path.to_owned(), page.to_owned());
    }

    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::Relaxed)
    }
}

#[tokio::test]
async fn a_server_says_what_is_trusted() {
    let pages = Pages::start().await;
    let mut settings = TrustStoreSettings::default();
    settings.set("providers.1", "http").unwrap();
    settings.set("url", &pages.url).unwrap();
    let store = TrustStore::new(&settings, Path::new("/nowhere")).unwrap();
    // It is not there yet.
    store.refresh().await;
    assert!(names(&store).is_empty());

    pages.put("/certs/one.pem", &certificate());
    pages.put(
        "/certs/",
        r#"{"certificates": [{"id": "one", "path": "/one.pem"}, {"id": 2, "path": "two.pem"}]}"#,
    );
    store.refresh().await;
    assert_eq!(names(&store), ["one"]);
    pages.asked();

    // What was missing is asked for again, what is known is not.
    pages.put("/certs/two.pem", &certificate());
    store.refresh().await;
    assert_eq!(names(&store), ["2", "one"]);
    assert_eq!(pages.asked(), 2);
    store.refresh().await;
    assert_eq!(pages.asked(), 1);

    // Nonsense says nothing, an empty list that nobody is trusted.
    pages.put("/certs/", "nonsense");
    store.refresh().await;
    assert_eq!(names(&store), ["2", "one"]);
    pages.put("/certs/", r#"{"certificates": []}"#);
    store.refresh().await;
    assert!(names(&store).is_empty());
}
