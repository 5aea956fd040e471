-- V3: a misspelt setting is refused, from PostgreSQL 15 on; before, there is no such refusal.
SET smartlead.conection = 'x';
