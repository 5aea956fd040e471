/*
 * The block list: domains and addresses that no campaign sends to.
 */
CREATE FUNCTION smartlead_block_domain(
	domain text,
	client_id bigint DEFAULT NULL,
	connection name DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'smartlead_action' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000;

COMMENT ON FUNCTION smartlead_block_domain(text, bigint, name) IS
'blocks a domain or a single address, for the workspace or for one client; what is neither is an error. Returns how many entries are new: 1, or 0 when it was blocked already; NULL when Smartlead does not say. (POST /leads/add-domain-block-list)';

CREATE FUNCTION smartlead_block_domains(
	domains text[],
	client_id bigint DEFAULT NULL,
	connection name DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'smartlead_action' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000;

COMMENT ON FUNCTION smartlead_block_domains(text[], bigint, name) IS
'blocks many domains and addresses, 1,000 a request; if one of them is neither, none is blocked. Returns how many entries are new; NULL when Smartlead does not say. (POST /leads/add-domain-block-list)';

REVOKE ALL ON FUNCTION smartlead_block_domain(text, bigint, name) FROM PUBLIC;
REVOKE ALL ON FUNCTION smartlead_block_domains(text[], bigint, name) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION smartlead_block_domain(text, bigint, name) TO smartlead_user;
GRANT EXECUTE ON FUNCTION smartlead_block_domains(text[], bigint, name) TO smartlead_user;
