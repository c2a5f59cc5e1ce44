// The headers of the shell's pages, as the edge sends them.

/** The content security policy for a shell at `authority` (host and port). */
export function contentSecurityPolicy(scheme, authority) {
  const sessions = `${scheme}://*.${authority}`;
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "font-src 'self'",
    "manifest-src 'self'",
    `frame-src ${sessions}`,
    `form-action 'self' ${sessions}`,
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join("; ");
}

export function pageHeaders(scheme, authority) {
  return {
    "Content-Security-Policy": contentSecurityPolicy(scheme, authority),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Origin-Agent-Cluster": "?1",
    "Referrer-Policy": "strict-origin",
    "X-Content-Type-Options": "nosniff",
  };
}

/** The headers of the page that shows an app's template (offer-template.html): in apps' pages, and nowhere else. */
export function offerTemplateHeaders(scheme, authority) {
  const sessions = `${scheme}://*.${authority}`;
  return {
    "Content-Security-Policy": [
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      // API hosts, to keep the password alive while its text is on the screen.
      `connect-src ${sessions}`,
      "base-uri 'none'",
      "form-action 'none'",
      `frame-ancestors 'self' ${sessions}`,
      "require-trusted-types-for 'script'",
      "trusted-types 'none'",
    ].join("; "),
    "Cross-Origin-Resource-Policy": "same-site",
    "Origin-Agent-Cluster": "?1",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
  };
}
