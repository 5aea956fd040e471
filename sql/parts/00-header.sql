/* smartlead 1.0: types, functions, tables, views, grants and comments. */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION smartlead" to load this file. \quit
