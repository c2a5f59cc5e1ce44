@0xa8cb0f2f1a756b32;
# HTTP, as a grain sees it: one method for each kind of request, and only those headers that have a
# place here. What has no place does not pass, in either direction: `Range`, `Referer`, `Origin`,
# `Authorization` and the like never reach an app, and an app's caching, framing and content policy
# headers never reach a browser.

using ByteStream = import "util.capnp".ByteStream;
using Handle = import "util.capnp".Handle;
using KeyValue = import "util.capnp".KeyValue;
using UiSession = import "grain.capnp".UiSession;

struct HttpStatusDescriptor @0xbc353583a3731ade {
  # The HTTP form of a status.

  id @0 :UInt16;
  # The three-digit code.

  title @1 :Text;
  # The reason phrase.
}

annotation httpStatus @0xaf480a0c6cab8887 (enumerant) :HttpStatusDescriptor;
# Says which HTTP status an enumerant stands for. Read by programs that know schemas at run time.

const httpStatusAnnotationId @0x9ea7265092c11606 :UInt64 = 12630356203439622279;
# The id of `httpStatus`, for looking it up.

interface WebSession @0xa50711a14d35a8ce extends(UiSession) {
  # One person's browser at one grain. Implemented by the app, held by the platform for as long as
  # pages of the session are open. Not persistent. Requests arrive for the person the session was
  # made for; nothing in a request can make it another's.
  #
  # In all methods `path` has no leading slash, includes the query, and is percent-encoded as
  # received; dot segments are not resolved. The empty path is the root. `destination` is alike,
  # without the origin. A method an app does not implement answers "unimplemented", or "failed" from
  # old apps.

  get @0 (path :Text, context :Context, ignoreBody :Bool) -> Response;
  # GET, or HEAD with `ignoreBody`: the body may be left out, and is thrown away if it is there.

  post @1 (path :Text, content :PostContent, context :Context) -> Response;
  # POST with the whole body. Used for bodies of known length below 64 KiB, and for apps without
  # `postStreaming`.

  openWebSocket @2 (path :Text, context :Context, protocol :List(Text), clientStream :WebSocketStream)
      -> (protocol :List(Text), serverStream :WebSocketStream);
  # Opens a WebSocket. `protocol` is what `Sec-WebSocket-Protocol` offers, then what the app chose.
  # Both streams carry raw frames (RFC 6455 section 5), masked from the client as on the wire. No
  # extension is negotiated. To refuse, the app throws. Dropping a stream closes its direction.

  put @3 (path :Text, content :PutContent, context :Context) -> Response;
  # PUT with the whole body; otherwise as `post`.

  delete @4 (path :Text, context :Context) -> Response;

  postStreaming @5 (path :Text, mimeType :Text, context :Context, encoding :Text)
      -> (stream :RequestStream);
  # POST whose body follows through `stream`. Tried first for bodies of 64 KiB and more and for
  # those of unknown length; if it is unimplemented, or failed as "not implemented", `post` comes.

  putStreaming @6 (path :Text, mimeType :Text, context :Context, encoding :Text)
      -> (stream :RequestStream);
  # The same for PUT.

  propfind @7 (path :Text, xmlContent :Text, depth :PropfindDepth, context :Context) -> Response;
  # From here to `acl`, and `report`: WebDAV (RFC 4918, 3744, 3253). XML bodies arrive decompressed.

  proppatch @8 (path :Text, xmlContent :Text, context :Context) -> Response;

  mkcol @9 (path :Text, content :PostContent, context :Context) -> Response;
  # The body is never streamed. The same holds for `report` and `patch`.

  copy @10 (path :Text, destination :Text, noOverwrite :Bool, shallow :Bool, context :Context) -> Response;
  # `noOverwrite` is `Overwrite: F`; `shallow` is `Depth: 0`, infinity without it. The destination
  # is on the same host.

  move @11 (path :Text, destination :Text, noOverwrite :Bool, context :Context) -> Response;

  lock @12 (path :Text, xmlContent :Text, shallow :Bool, context :Context) -> Response;
  # `shallow` as for `copy`.

  unlock @13 (path :Text, lockToken :Text, context :Context) -> Response;
  # `lockToken` is what the header `Lock-Token` says.

  acl @14 (path :Text, xmlContent :Text, context :Context) -> Response;

  report @15 (path :Text, content :PostContent, context :Context) -> Response;

  options @16 (path :Text, context :Context) -> Options;
  # OPTIONS. An app can only say what WebDAV it speaks; CORS is answered by the platform.

  patch @17 (path :Text, content :PostContent, context :Context) -> Response;

  struct Params @0xd7051b9757f6b096 {
    # What holds for the whole session; `sessionParams` of `UiView.newSession`.

    basePath @0 :Text;
    # Scheme and host of the session, without a slash at the end: `https://ui-….example.com`. Apps
    # build absolute addresses on it. Different for every session, so no place to keep bookmarks to.

    userAgent @1 :Text;
    # The browser's word; `UnknownAgent/0.0` if it said nothing.

    acceptableLanguages @2 :List(Text);
    # The parts of `Accept-Language` in their order, quality values included; "en-US", "en" if there
    # were none.
  }

  struct Context @0xf5cae52becabc767 {
    # What comes with every request.

    cookies @0 :List(KeyValue);
    # The app's own. The platform's session cookie is never among them. They last no longer than the
    # session's host, which no other session shares.

    responseStream @1 :ByteStream;
    # Where the body goes if the response says `stream`; without that, it must not be called. Never
    # null: a promise which resolves once it is clear, or breaks.

    accept @2 :List(AcceptedType);
    # Empty: anything.

    acceptEncoding @9 :List(AcceptedEncoding);
    # Empty: the header was absent.

    eTagPrecondition :union {
      # Under what condition to act. When it does not hold, answer `preconditionFailed`.

      none @4 :Void;

      exists @5 :Void;
      # `If-Match: *`

      matchesOneOf @6 :List(ETag);
      # `If-Match`

      matchesNoneOf @7 :List(ETag);
      # `If-None-Match`

      doesntExist @8 :Void;
      # `If-None-Match: *`
    }

    additionalHeaders @3 :List(Header);
    # Those headers of the request that `headerWhitelist` has; names in lower case.

    struct Header @0xb4e5f4cccb748429 {
      name @0 :Text;
      value @1 :Text;
    }

    const headerWhitelist @0xbaace870544663eb :List(Text) = [
      "x-sandstorm-app-*",
      "oc-total-length", "oc-chunk-size", "x-oc-mtime", "oc-fileid", "oc-chunked", "oc-checksum",
      "oc-chunk-offset", "oc-lazyops",
      "x-hgarg-*", "x-phabricator-*",
      "x-requested-with", "x-csrftoken", "x-csrf-token"
    ];
    # Request headers passed on as they are. Compared without regard to case; a star at the end
    # stands for any ending. New ones are for apps to name `x-sandstorm-app-…`.
  }

  struct PostContent @0xb7d82eac416ab63e {
    # A whole body.

    mimeType @0 :Text;
    # `Content-Type`

    content @1 :Data;

    encoding @2 :Text;
    # `Content-Encoding`, such as "gzip"; empty if `content` is as it is.
  }

  struct PutContent @0xd7aff1fe39659132 {
    # A whole body; as `PostContent`.

    mimeType @0 :Text;
    content @1 :Data;
    encoding @2 :Text;
  }

  struct ETag @0xd22c0be5b9c16558 {
    # An entity tag (RFC 9110 section 8.8.3).

    value @0 :Text;
    # Without the quotes.

    weak @1 :Bool;
    # It had `W/` in front.
  }

  struct Cookie @0xa87d65bed9b60243 {
    # A cookie to set on the session's own host. Domain and SameSite cannot be chosen; Secure is
    # added by the platform whenever it speaks HTTPS.

    name @0 :Text;
    # Without `;`, `,` and `=`. A cookie with characters that are not allowed is left out, with no
    # error.

    value @1 :Text;
    # Without `;` and `,`. The same for `path`.

    expires :union {
      none @2 :Void;
      # With the session.

      absolute @3 :Int64;
      # In seconds since the Unix epoch: `Expires`.

      relative @4 :UInt64;
      # In seconds from now: `Max-Age`.
    }

    httpOnly @5 :Bool;
    # Hidden from the page's scripts.

    path @6 :Text;
    # Empty: no `Path` is sent.
  }

  struct AcceptedType @0xaaf9021b627cc1f9 {
    mimeType @0 :Text;
    # "text/html", "text/*" or "*/*".

    qValue @1 :Float32 = 1.0;
    # From 0, never, to 1, most welcome.
  }

  struct AcceptedEncoding @0xbda585bffe1dc7e8 {
    contentCoding @0 :Text;
    # "gzip", "identity" or "*".

    qValue @1 :Float32 = 1.0;
    # As in `AcceptedType`.
  }

  struct Response @0x8193ac6cb5429c83 {
    # What the app answers. The platform adds its own security headers and leaves a missing content
    # type missing, except on errors.

    setCookies @0 :List(Cookie);
    # Not sent by API endpoints.

    cachePolicy @16 :CachePolicy;
    # Ignored in shipped Sandstorm: nothing is cached beyond what `eTag` makes possible.

    additionalHeaders @20 :List(Header);
    # Those that are not in `headerWhitelist` are dropped.

    union {
      redirect :group {
        # Status 301 if permanent and switching to GET, 308 if permanent only, 303 if switching
        # only, 307 if neither.

        isPermanent @1 :Bool;
        switchToGet @12 :Bool;

        location @11 :Text;
        # Passed on as it is. Apps commonly send absolute addresses on `Params.basePath`.
      }

      content :group {
        # Success with a body.

        statusCode @10 :SuccessCode;

        encoding @2 :Text;
        # `Content-Encoding`; empty if none.

        language @3 :Text;
        # `Content-Language`; empty if none.

        mimeType @4 :Text;
        # `Content-Type`; empty if none.

        eTag @17 :ETag;

        body :union {
          bytes @5 :Data;
          # All of it.

          stream @6 :Handle;
          # It is being written to `Context.responseStream`. The platform holds the handle while it
          # wants more, pinging it every 60 seconds, and drops it when the browser has gone away.
        }

        disposition :union {
          normal @13 :Void;

          download @14 :Text;
          # `Content-Disposition: attachment` with this file name.
        }
      }

      clientError :group {
        # It was the request's fault.

        statusCode @7 :ClientErrorCode;

        descriptionHtml @8 :Text;
        # A page in UTF-8; empty for the platform's own words.

        nonHtmlBody @21 :ErrorBody;
        # Used instead of `descriptionHtml` if it is there. The same holds in `serverError`.
      }

      serverError :group {
        # Status 500, whatever went wrong.

        descriptionHtml @9 :Text;
        nonHtmlBody @22 :ErrorBody;
      }

      noContent :group {
        # Success with nothing to show.

        shouldResetForm @15 :Bool;
        # Status 205 instead of 204.

        eTag @19 :ETag;
      }

      preconditionFailed :group {
        # The request's `eTagPrecondition` does not hold. Status 304 if it was about
        # `If-None-Match`, 412 otherwise.

        matchingETag @18 :ETag;
        # The tag that matched when none should have.
      }
    }

    enum SuccessCode @0x82130007ccd2888f {
      ok @0 $httpStatus(id = 200, title = "OK");
      created @1 $httpStatus(id = 201, title = "Created");
      accepted @2 $httpStatus(id = 202, title = "Accepted");
      noContent @3 $httpStatus(id = 204, title = "No Content");
      partialContent @4 $httpStatus(id = 206, title = "Partial Content");
      multiStatus @5 $httpStatus(id = 207, title = "Multi-Status");
      notModified @6 $httpStatus(id = 304, title = "Not Modified");
    }

    enum ClientErrorCode @0x8ea31bdb4c044f01 {
      # There is no 401: who the person is was settled before the app was asked.

      badRequest @0 $httpStatus(id = 400, title = "Bad Request");
      forbidden @1 $httpStatus(id = 403, title = "Forbidden");
      notFound @2 $httpStatus(id = 404, title = "Not Found");
      methodNotAllowed @3 $httpStatus(id = 405, title = "Method Not Allowed");
      notAcceptable @4 $httpStatus(id = 406, title = "Not Acceptable");
      conflict @5 $httpStatus(id = 409, title = "Conflict");
      gone @6 $httpStatus(id = 410, title = "Gone");
      requestEntityTooLarge @7 $httpStatus(id = 413, title = "Request Entity Too Large");
      requestUriTooLong @8 $httpStatus(id = 414, title = "Request-URI Too Long");
      unsupportedMediaType @9 $httpStatus(id = 415, title = "Unsupported Media Type");
      imATeapot @10 $httpStatus(id = 418, title = "I'm a teapot");
      preconditionFailed @11 $httpStatus(id = 412, title = "Precondition Failed");
      unprocessableEntity @12 $httpStatus(id = 422, title = "Unprocessable Entity");
    }

    struct Header @0xb4b873147ab5ce5e {
      name @0 :Text;
      value @1 :Text;
    }

    struct ErrorBody @0x9497e63b399a2c01 {
      # The body of an error for programs rather than people.

      data @0 :Data;

      encoding @1 :Text;
      # This and the next two as in `content`.

      language @2 :Text;
      mimeType @3 :Text;
    }

    const headerWhitelist @0xef174541b62cac82 :List(Text) = ["x-sandstorm-app-*", "x-oc-mtime"];
    # Response headers passed on as they are; matched as those of requests.
  }

  interface RequestStream @0x99ffc2f3f69a6a9f extends(ByteStream) {
    # The body of a request in progress. Held by the platform, implemented by the app. Dropping it
    # before `done` means the browser gave up.

    getResponse @0 () -> Response;
    # Called once, as a rule before any byte is written. The app may answer before the body has
    # ended.
  }

  interface WebSocketStream @0xf001fc1d5e574a07 {
    # One direction of a WebSocket. Held by the sender; not persistent.

    sendBytes @0 (message :Data) -> stream;
    # The next bytes of the frame stream. Despite the name, a call need not be a message, nor a
    # frame.
  }

  struct CachePolicy @0xb37b21e300864885 {
    # For whom, and for how long, a response could be kept. See `Response.cachePolicy`.

    withCheck @0 :Scope;
    # Who may keep it, if they ask each time whether it still holds.

    permanent @1 :Scope;
    # Who may keep it without asking again.

    variesOnCookie @2 :Bool;
    # Another cookie would have given another response.

    variesOnAccept @3 :Bool;
    # So would another `Accept`.

    enum Scope @0x81535505f60de028 {
      # From narrow to wide.

      none @0;
      # Nobody.

      perSession @1;
      # This session.

      perUser @2;
      # All sessions of this person at this grain.

      perAppVersion @3;
      # All grains that run this version of the app.

      universal @4;
      # Everybody, always.
    }
  }

  struct Options @0xe9ff06beec4e73d6 {
    # The header `DAV` of an answer to OPTIONS, taken apart.

    davClass1 @0 :Bool;
    davClass2 @1 :Bool;
    davClass3 @2 :Bool;
    # Compliance classes 1, 2 and 3 (RFC 4918 section 18).

    davExtensions @3 :List(Text);
    # All other tokens in it.
  }

  enum PropfindDepth @0xb39cc44599b3a41b {
    # The header `Depth` of a PROPFIND; infinity if it is absent.

    infinity @0;
    zero @1;
    one @2;
  }
}
