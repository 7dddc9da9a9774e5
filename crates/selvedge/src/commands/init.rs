//! `selvedge init`: a new project that deploys as it is.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use selvedge_model::ScriptName;
use serde_json::json;

use crate::failure::{Failure, Outcome};
use crate::terminal::{GOOD, HINT, Terminal, say};

/// Make a new project. Asks nothing and overwrites nothing.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  selvedge init hello      in the new directory `hello`\n  selvedge init            in this directory"
)]
pub(crate) struct InitArgs {
    /// Name of the worker and its directory [default: this directory]
    name: Option<ScriptName>,
}

const WRANGLER: &str = r#"{
  // Name of the worker; it answers at http://NAME.localhost:8080.
  "name": "NAME",
  "main": "src/index.ts",
  "compatibility_date": "2026-11-01",
  // Visible to the worker as `env.GREETING`. Secrets are set with `selvedge secret put`.
  "vars": {
    "GREETING": "Hello"
  }
}
"#;

const INDEX: &str = r#"interface Env {
  GREETING: string;
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const { pathname } = new URL(request.url);
    return new Response(`${env.GREETING} from ${pathname}\n`);
  },
};
"#;

const PACKAGE: &str = r#"{
  "name": "NAME",
  "private": true,
  "type": "module",
  "scripts": {
    "dev": "selvedge dev",
    "deploy": "selvedge deploy"
  }
}
"#;

const TSCONFIG: &str = r#"{
  "compilerOptions": {
    "target": "es2024",
    "module": "esnext",
    "moduleResolution": "bundler",
    "lib": ["es2024", "webworker"],
    "strict": true,
    "noEmit": true,
    "skipLibCheck": true
  },
  "include": ["src"]
}
"#;

const GITIGNORE: &str = "node_modules\n.dev.vars\n";

/// Runs the command.
pub(crate) fn run(args: &InitArgs, terminal: Terminal) -> Outcome {
    let here = std::env::current_dir().map_err(|error| Failure::io("find", Path::new("."), &error))?;
    let (dir, name) = match &args.name {
        Some(name) => (here.join(name.as_str()), name.clone()),
        None => (here.clone(), name_of(&here)?),
    };
    let files = files(&dir, &name);
    if let Some((path, _)) = files.iter().find(|(path, _)| path.exists()) {
        let message = format!("{} exists already; nothing was changed", path.display());
        return Err(Failure::new("exists", message).help("choose another name or directory"));
    }
    for (path, text) in &files {
        let parent = path.parent().unwrap_or(&dir);
        fs::create_dir_all(parent).map_err(|error| Failure::io("create", parent, &error))?;
        fs::write(path, text).map_err(|error| Failure::io("write", path, &error))?;
    }
    let written: Vec<_> = files.iter().map(|(path, _)| path.strip_prefix(&dir).unwrap_or(path)).collect();
    terminal.answer(&json!({"name": name, "directory": dir, "files": written}), || {
        say!("{GOOD}✓{GOOD:#} {name} is in {}\n", dir.display());
        say!("Next:");
        if let Some(name) = &args.name {
            say!("  {HINT}cd {name}{HINT:#}");
        }
        say!("  {HINT}selvedge dev{HINT:#}       serve it here, and reload when a file changes");
        say!("  {HINT}selvedge deploy{HINT:#}    deploy it to the Selvedge that runs (`selvedge up`)");
    });
    Ok(())
}

fn name_of(dir: &Path) -> Outcome<ScriptName> {
    let name = dir.file_name().and_then(|name| crate::project::script_name(&name.to_string_lossy()));
    name.ok_or_else(|| {
        Failure::new("no_name", format!("{} gives no name for a worker", dir.display()))
            .help("give one: selvedge init NAME")
    })
}

fn files(dir: &Path, name: &ScriptName) -> Vec<(PathBuf, String)> {
    let all = [
        ("wrangler.jsonc", WRANGLER),
        ("src/index.ts", INDEX),
        ("package.json", PACKAGE),
        ("tsconfig.json", TSCONFIG),
        (".gitignore", GITIGNORE),
    ];
    all.map(|(path, text)| (dir.join(path), text.replace("NAME", name.as_str()))).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_project_can_be_read_back() {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files(dir.path(), &"fresh".parse().unwrap()) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let project = crate::project::Project::open(dir.path(), None).unwrap();
        assert_eq!(project.name.unwrap().as_str(), "fresh");
        assert!(project.warnings.is_empty(), "{:?}", project.warnings);
    }
}
