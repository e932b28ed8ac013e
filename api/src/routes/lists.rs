//! What there is: containers, and what is known of each.

use std::collections::BTreeMap;

use coracle_engine::{containers::Container, state::host::Hosts};
use coracle_platform::clock;
use docker_model::{
    container::{self, Filter, Listed, Named},
    filters::{FilterError, Filters},
    records,
};

use super::Call;
use crate::{backend::Backend, error::ApiError};

impl From<FilterError> for ApiError {
    fn from(error: FilterError) -> Self {
        Self::invalid(error.to_string())
    }
}

/// What filters of containers name.
struct Things<'a>(&'a Backend);

impl Named for Things<'_> {
    type Error = ApiError;

    fn created(&mut self, container: &str) -> Result<u64, ApiError> {
        Ok(self.0.find(container)?.config().created)
    }

    fn image(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        Ok(self.0.engine.images().id(name)?)
    }
}

/// `GET /containers/json`
pub fn containers(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let filters = Filters::from_json(call.query.get("filters").unwrap_or_default())?;
    let filter = Filter::new(filters, &mut Things(api))?;
    let limit = call.query.number("limit")?.unwrap_or(0);
    let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
    let list = api.records.summaries()?;
    let hosts = Hosts::new(api.directories()).list()?;
    let sizes = match call.query.flag("size") {
        true => api.engine.containers().sizes(&list)?,
        false => BTreeMap::new(),
    };
    let rows = records::rows(list, &hosts, &filter, call.query.flag("all"), limit);
    let now = clock::wall();
    let rows = rows.map(|mut row| {
        row.summary.size = sizes.get(&row.summary.id).copied().map(records::size);
        container::list(&row.summary, now)
    });
    call.json(200, &rows.collect::<Vec<Listed>>())
}

/// `GET /containers/{}/json`
pub fn container(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let container = api.find(call.argument(0))?;
    let mut known = known(api, &container)?;
    if call.query.flag("size") {
        known.size = Some(records::size(container.size()?));
    }
    call.json(200, &container::inspect(&known))
}

fn known(api: &Backend, container: &Container) -> Result<container::Container, ApiError> {
    let state = container.state()?;
    let record = container.record();
    let around = record.surroundings(&state, &Hosts::new(api.directories()));
    let mut known = records::container(container.config(), &state, &around);
    known.exec_ids = container.execs().unwrap_or_default();
    let log = &mut known.host_config.log_config;
    if log.kind == "local" {
        // docker-py follows the logs of drivers that it knows only.
        log.kind = "json-file".into();
    }
    Ok(known)
}
