// Shows the OpenAPI document, with a form to try each request.
"use strict";

// What a form asks for may be millions of rows, so the answer is shown without colours.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  syntaxHighlight: false,
  validatorUrl: null,
});
