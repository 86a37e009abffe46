// Where providers send a browser back to: RabbitMQ's address, so that it need not be registered anew. The pages do the rest.
location.replace(new URL(`../../${location.search}`, location.href));
