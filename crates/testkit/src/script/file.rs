//! A script file: cases of steps, each with the answers recorded for it.

/// A file as its lines; written back unchanged except for recorded answers.
#[derive(Debug)]
pub(super) struct ScriptFile {
    /// Lines before the first case.
    pub(super) preamble: Vec<String>,
    pub(super) cases: Vec<Case>,
}

#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
}

/// One line of a case, with what belongs to it.
#[derive(Debug)]
pub(super) struct Step {
    /// A command, or a comment or an empty line, which have no answers.
    pub(super) line: String,
    /// Recorded from RabbitMQ.
    pub(super) recorded: Vec<String>,
    /// Lines after `~`: `reason: …` and the answers that WarrenMQ gives on purpose.
    pub(super) differs: Vec<String>,
}

impl Step {
    pub(super) fn is_command(&self) -> bool {
        !self.line.is_empty() && !self.line.starts_with('#')
    }

    /// What WarrenMQ is to answer here.
    pub(super) fn expected(&self) -> Vec<&str> {
        if self.differs.is_empty() {
            return self.recorded.iter().map(String::as_str).collect();
        }
        self.differs
            .iter()
            .map(String::as_str)
            .filter(|line| !line.starts_with("reason:") && *line != "nothing")
            .collect()
    }
}

impl ScriptFile {
    pub(super) fn parse(text: &str) -> Self {
        let mut file = Self {
            preamble: Vec::new(),
            cases: Vec::new(),
        };
        for line in text.lines() {
            let line = line.trim_end();
            if let Some(name) = line.strip_prefix("# case: ") {
                file.cases.push(Case {
                    name: name.to_owned(),
                    steps: Vec::new(),
                });
                continue;
            }
            let Some(case) = file.cases.last_mut() else {
                file.preamble.push(line.to_owned());
                continue;
            };
            let is_answer = line.split(' ').nth(1) == Some("<") && !line.starts_with('#');
            match case.steps.last_mut() {
                Some(step) if is_answer => step.recorded.push(line.to_owned()),
                Some(step) if line.starts_with("~ ") => step.differs.push(line[2..].to_owned()),
                _ => case.steps.push(Step {
                    line: line.to_owned(),
                    recorded: Vec::new(),
                    differs: Vec::new(),
                }),
            }
        }
        file
    }

    pub(super) fn text(&self) -> String {
        let mut lines: Vec<String> = self.preamble.clone();
        for case in &self.cases {
            lines.push(format!("# case: {}", case.name));
            for step in &case.steps {
                lines.push(step.line.clone());
                lines.extend(step.recorded.iter().cloned());
                lines.extend(step.differs.iter().map(|line| format!("~ {line}")));
            }
        }
        lines.join("\n") + "\n"
    }

    /// The value of a `# key: value` line before the first case.
    pub(super) fn setting(&self, key: &str) -> Option<&str> {
        self.preamble.iter().find_map(|line| {
            line.strip_prefix("# ")?
                .strip_prefix(key)?
                .strip_prefix(": ")
        })
    }
}
