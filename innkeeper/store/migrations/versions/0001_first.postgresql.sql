-- Counts the changes of tables that seldom change, so that every server knows when what it keeps of them is old.
-- Deferred: the one row is locked last, and only while the change is committed.

CREATE TABLE settled (version BIGINT NOT NULL);
INSERT INTO settled (version) VALUES (0);

CREATE FUNCTION settled_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE settled SET version = version + 1;
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER settled_org_tokens AFTER INSERT OR UPDATE OR DELETE ON org_tokens
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION settled_changed();
CREATE CONSTRAINT TRIGGER settled_orgs AFTER INSERT OR UPDATE OR DELETE ON orgs
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION settled_changed();
CREATE CONSTRAINT TRIGGER settled_apps AFTER INSERT OR UPDATE OR DELETE ON apps
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION settled_changed();
CREATE CONSTRAINT TRIGGER settled_builds AFTER INSERT OR UPDATE OR DELETE ON builds
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION settled_changed();
CREATE CONSTRAINT TRIGGER settled_deployments AFTER INSERT OR UPDATE OR DELETE ON deployments
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION settled_changed();
