-- Build numbers of an app, for the versions that count.

CREATE TABLE app_build_numbers (            -- the builds that an app made or deployed, from 1 on
    app_id TEXT NOT NULL REFERENCES apps,
    number BIGINT NOT NULL,
    build_key TEXT NOT NULL REFERENCES builds,
    PRIMARY KEY (app_id, number)
);
CREATE UNIQUE INDEX app_build_numbers_build ON app_build_numbers (app_id, build_key);

-- Builds that were deployed before they were counted, in the order in which the app first used them.
INSERT INTO app_build_numbers (app_id, number, build_key)
SELECT app_id, ROW_NUMBER() OVER (PARTITION BY app_id ORDER BY first_used), build_key
FROM (SELECT app_id, build_key, MIN(number) AS first_used FROM deployments
      GROUP BY app_id, build_key) AS used;
UPDATE apps SET builds_numbered =
    (SELECT COUNT(*) FROM app_build_numbers WHERE app_build_numbers.app_id = apps.app_id);

-- As V1 and V2 name a process's deployment; like the deployment, it never changes.
ALTER TABLE processes ADD COLUMN deployment_number BIGINT NOT NULL DEFAULT 0;
UPDATE processes SET deployment_number =
    (SELECT number FROM deployments WHERE deployments.deployment_id = processes.deployment_id);

-- V1 lists the processes that ended last.
CREATE INDEX processes_ended ON processes (app_id, terminated_at) WHERE terminated_at IS NOT NULL;
