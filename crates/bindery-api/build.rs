//! Takes what the page at `/docs` is made of out of the archive that its crate carries.

use std::error::Error;
use std::io::{Cursor, Read as _};
use std::path::Path;

use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

/// All of the renderer that the page loads.
const WANTED: [&str; 2] = ["swagger-ui-bundle.js", "swagger-ui.css"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let out = std::env::var("OUT_DIR")?;
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    for wanted in WANTED {
        let end = format!("/dist/{wanted}");
        let names: Vec<String> = archive
            .file_names()
            .map(|name| name.map(Into::into))
            .collect::<Result<_, _>>()?;
        let found = names.iter().find(|name| name.ends_with(&end));
        let name = found.ok_or_else(|| format!("the archive has no {end}"))?;
        let mut content = Vec::new();
        archive.by_name(name)?.read_to_end(&mut content)?;
        std::fs::write(Path::new(&out).join(wanted), content)?;
    }
    Ok(())
}
