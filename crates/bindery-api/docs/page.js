// Draws the document of this server. `validatorUrl` and `queryConfigEnabled` off: nothing is asked of, or taken from, anyone else.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayOperationId: true,
  validatorUrl: null,
  queryConfigEnabled: false,
});
