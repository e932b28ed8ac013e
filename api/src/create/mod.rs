//! The body of `containers/create`: what docker's clients ask for, and what of it cannot be had.

mod body;
mod refuse;
mod request;
#[cfg(test)]
mod tests;

pub use body::{
    Body, Command, Health, HostConfig, LogConfig, Mount, PortBinding, RestartPolicy, Ulimit,
};
pub use refuse::{check_name, request, warnings};
pub use request::HOST_LABEL;
