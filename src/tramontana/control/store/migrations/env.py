"""Alembic's entry: runs the migrations on the connection that `Store.open` hands over, inside its transaction."""

from alembic import context

from tramontana.control.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transaction_per_migration=False)
context.run_migrations()
