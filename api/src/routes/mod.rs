//! Which request is answered by what.

pub mod attach;
mod call;
pub mod containers;
pub mod execs;
pub mod images;
pub mod lists;
pub mod system;

pub use call::{Call, JSON, MULTIPLEXED, RAW, stream};

use crate::{
    error::ApiError,
    http::Exchange,
    target::{Target, matches},
};

/// Answers a request of one kind.
pub type Handler<A> = fn(&A, &mut Call<'_, '_>) -> Result<(), ApiError>;

/// A method, a path without the API's version, and what answers. `{}` is a name, `{*}` one that may have
/// slashes.
pub type Route<A> = (&'static str, &'static str, Handler<A>);

/// Answers a request by the first route that fits.
pub fn answer<A>(api: &A, routes: &[Route<A>], exchange: &mut Exchange<'_>) {
    let done = dispatch(api, routes, exchange);
    if let Err((error, known)) = done
        && !exchange.is_answered()
    {
        let mut reply = error.reply();
        if known {
            reply.headers.extend(call::headers());
        }
        // A client that is gone needs no answer.
        let _ = exchange.reply(&reply);
    }
}

/// Gives what is wrong, and whether there is such a page at all.
fn dispatch<A>(
    api: &A,
    routes: &[Route<A>],
    exchange: &mut Exchange<'_>,
) -> Result<(), (ApiError, bool)> {
    let head = exchange.head();
    let target = Target::parse(&head.target).map_err(|error| (error, false))?;
    let (handler, arguments) =
        find(routes, &head.method, &target.path).ok_or((ApiError::no_such_page(), false))?;
    let arguments = arguments.into_iter().map(str::to_owned).collect();
    let known = |error| (error, true);
    let version = target.version().map_err(known)?;
    let query = target.query().map_err(known)?;
    let mut call = Call {
        exchange,
        arguments,
        query,
        version,
    };
    handler(api, &mut call).map_err(known)
}

fn find<'p, A>(
    routes: &[Route<A>],
    method: &str,
    path: &'p str,
) -> Option<(Handler<A>, Vec<&'p str>)> {
    routes
        .iter()
        .filter(|(own, _, _)| *own == method)
        .find_map(|(_, pattern, handler)| Some((*handler, matches(pattern, path)?)))
}
