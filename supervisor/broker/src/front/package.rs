//! Packages: on their way here, looked at, installed.

use std::cell::RefCell;
use std::rc::Rc;

use capnp::Error;
use percloud_schemas::front_capnp::{package, upload};

use super::{act, answer, done, finished, use_cases};
use crate::account::SignedIn;
use crate::broker::Broker;
use crate::problem::Problem;
use crate::upload::Upload;

pub(super) struct UploadServer {
    pub upload: Rc<Upload>,
    /// Why an earlier write failed; what comes after it is thrown away.
    pub failed: RefCell<Option<Problem>>,
}

impl upload::Server for UploadServer {
    async fn write(self: Rc<Self>, params: upload::WriteParams) -> Result<(), Error> {
        // A failed streaming call would break the capability, and with it the answer that says why: `finish` tells.
        if self.failed.borrow().is_none()
            && let Err(problem) = self.upload.write(params.get()?.get_data()?)
        {
            *self.failed.borrow_mut() = Some(problem);
        }
        Ok(())
    }

    async fn finish(
        self: Rc<Self>,
        _: upload::FinishParams,
        mut results: upload::FinishResults,
    ) -> Result<(), Error> {
        let failed = self.failed.borrow().clone();
        let outcome = match failed {
            Some(problem) => Err(problem),
            None => {
                let upload = self.upload.clone();
                finished(async move { upload.finish().await }).await
            }
        };
        answer(results.get().init_reply(), 201, outcome);
        Ok(())
    }
}

pub(super) struct Package {
    pub broker: Rc<Broker>,
    pub who: SignedIn,
    pub id: String,
}

impl package::Server for Package {
    use_cases! { package:
        info InfoParams InfoResults () -> 200 = |broker, who, id| {
            let info = broker.own_package(who, id).await?;
            broker.package_view(who, &info)
        };
        install InstallParams InstallResults () -> 200 = |broker, who, id| broker.install(who, id).await;
        remove RemoveParams RemoveResults () -> 204 = |broker, who, id| done(broker.remove_package(who, id).await);
    }

    async fn icon(
        self: Rc<Self>,
        params: package::IconParams,
        mut results: package::IconResults,
    ) -> Result<(), Error> {
        let name = params.get()?.get_name()?.to_str()?;
        if self.broker.check(&self.who).is_err() {
            return Ok(());
        }
        if let Ok((media_type, bytes)) = self.broker.icon(&self.who, &self.id, name).await {
            let mut results = results.get();
            results.set_mime_type(media_type);
            results.set_data(&bytes);
        }
        Ok(())
    }
}
