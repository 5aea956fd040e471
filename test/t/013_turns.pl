# Sessions go before the queue where the rate limit is tight, but both get their turn.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SmartleadSession;
use SmartleadTest;
use Test::More;

my $node = smartlead_node('main', conf => "smartlead.databases = 'postgres'\nsmartlead.port = " . free_port());
$node->safe_psql('postgres', q{ALTER SERVER sandbox OPTIONS (SET rate_limit '1/500ms')});
my $session = SmartleadSession->new($node);

sub pages
{
	return scalar @{ sandbox_get('/_sandbox/log?path=/campaigns/600001/leads') };
}

# Some hundred pages, half a second each.
$session->start_sqlstate('SELECT count(*) FROM smartlead_list_leads(600001)');
ok(wait_until(sub { pages() >= 3 }, 'the first pages'), 'C16: a session lists under a tight limit');
$node->safe_psql('postgres',
	q{SELECT smartlead_enqueue('pause_lead', '{"campaign_id": 549768, "lead_id": 3499513771}');
	  SELECT smartlead_enqueue('pause_lead', '{"campaign_id": 549768, "lead_id": 3499513772}');
	  SELECT smartlead_enqueue('pause_lead', '{"campaign_id": 549768, "lead_id": 3499513773}')});
my $before = pages();
ok( wait_until(
		sub {
			$node->safe_psql('postgres',
				q{SELECT count(*) FROM smartlead_queue WHERE state = 'done'}) == 3
			  || $session->has_ended;
		},
		'the jobs'),
	'C16: three jobs');
ok(!$session->has_ended, 'C16: are done while it still lists');
cmp_ok(pages(), '>', $before, 'C16: and it goes on meanwhile');
my $then = pages();
ok(wait_until(sub { pages() > $then + 2 || $session->has_ended }, 'more pages'),
	'C16: and after them');
$node->safe_psql('postgres', 'SELECT pg_cancel_backend(' . $session->pid . ')');
is($session->finish_sqlstate, '57014', 'C16: until it is cancelled');

done_testing();
