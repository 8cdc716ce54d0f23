-- name: lock
-- Before ports and sandboxes are touched. (PostgreSQL: nobody else does until the end of the transaction.)
SELECT node_id FROM machine

-- name: take
-- Promise CPU and memory to a process, if the machine has them.
UPDATE machine SET cpu_millis_promised = cpu_millis_promised + :cpu_millis,
                   memory_mb_promised = memory_mb_promised + :memory_mb
WHERE cpu_millis_promised + :cpu_millis <= cpu_millis AND memory_mb_promised + :memory_mb <= memory_mb

-- name: give_back
-- What was promised is free again.
UPDATE machine SET cpu_millis_promised = CASE WHEN cpu_millis_promised > :cpu_millis
                                              THEN cpu_millis_promised - :cpu_millis ELSE 0 END,
                   memory_mb_promised = CASE WHEN memory_mb_promised > :memory_mb
                                             THEN memory_mb_promised - :memory_mb ELSE 0 END

-- name: machine
-- What the machine has and what is promised of it.
SELECT node_id, cpu_millis, memory_mb, cpu_millis_promised, memory_mb_promised FROM machine

-- name: take_port
-- Give out a host port that is free and has rested; the longest rested first.
UPDATE host_ports SET owner = :owner WHERE port = (
    SELECT port FROM host_ports WHERE owner IS NULL AND free_at <= :now ORDER BY free_at, port LIMIT 1)
RETURNING port

-- name: give_back_ports
-- A process's or sandbox's ports go to rest.
UPDATE host_ports SET owner = NULL, free_at = :free_at WHERE owner = :owner

-- name: pass_ports_on
-- A sandbox's ports go with it to the process that joins it.
UPDATE host_ports SET owner = :process_id WHERE owner = :sandbox_id

-- name: next_port_free
-- When the next resting port is free again.
SELECT MIN(free_at) AS free_at FROM host_ports WHERE owner IS NULL

-- name: ports_of
-- The ports that somebody owns.
SELECT port FROM host_ports WHERE owner = :owner ORDER BY port
