"""Sends the keyring's tables to their own database and keeps all other tables out of it."""


class KeyringRouter:
    def db_for_read(self, model, **hints):
        return "keyring" if model._meta.app_label == "keyring" else None

    db_for_write = db_for_read

    def allow_relation(self, first, second, **hints):
        apart = "keyring" in (first._meta.app_label, second._meta.app_label)
        return first._meta.app_label == second._meta.app_label if apart else None

    def allow_migrate(self, db, app_label, **hints):
        return (db == "keyring") == (app_label == "keyring")
