# The sandbox answers as users of the live service saw it answer, and refuses what that refuses.
use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Utils;
use SmartleadTest;
use Test::More;

start_sandbox();

my %campaign = (spring => 549768, dentists => 552100, big => 600001);

# The status, the decoded body and the answer of a request with a key.
sub ask
{
	my ($method, $path, $data) = @_;
	my $answer = http_request($method, sandbox_url() . $path . ($path =~ /\?/ ? '&' : '?') . 'api_key=sandbox-key-alpha', $data);
	my $body = eval { JSON::PP->new->allow_nonref->decode($answer->{content}) };
	return ($answer->{status}, $body, $answer);
}

sub status_of
{
	return (ask(@_))[0];
}

sub body_of
{
	return (ask(@_))[1];
}

# ---- campaigns ----

my ($status, undef, $answer) = ask('GET', '/campaigns/1');
is("$status/$answer->{content}", '200/', 'T1: a campaign that does not exist is an empty body');
is(status_of('GET', '/campaigns/1/leads'), 404, 'T1: but a 404 below it');

# ---- webhooks ----

my %webhook = (name => 'crm', webhook_url => 'https://crm.example/hook', event_types => ['EMAIL_SENT'], categories => ['Interested']);
my $saved = body_of('POST', "/campaigns/$campaign{spring}/webhooks", { id => undef, %webhook });
is_deeply([ sort keys %$saved ], [qw(category_id_map email_campaign_id event_type_map id name webhook_url)],
	'T2: saving a webhook is answered as it is registered');
is(join(' ', keys %{ $saved->{event_type_map} }, keys %{ $saved->{category_id_map} }), 'EMAIL_SENT 1', 'T2: by type and by category id');
is(status_of('POST', "/campaigns/$campaign{spring}/webhooks", { %webhook, categories => [] }), 400, 'T2: no empty list of categories');
delete $webhook{categories};
is(status_of('POST', "/campaigns/$campaign{spring}/webhooks", { %webhook }), 200, 'T2: but none at all');
is(status_of('POST', "/campaigns/$campaign{dentists}/webhooks", { %webhook, id => $saved->{id} }), 404,
	q{T4: another campaign's webhook is not saved});
is(status_of('DELETE', "/campaigns/$campaign{dentists}/webhooks", { id => $saved->{id} }), 404, 'T4: nor deleted');
is((grep { $_->{id} == $saved->{id} } @{ body_of('GET', "/campaigns/$campaign{spring}/webhooks") }), 1, 'T4: it is still there');
is(status_of('DELETE', "/campaigns/$campaign{spring}/webhooks", { id => $saved->{id} }), 200, 'T4: its own campaign deletes it');
is_deeply(body_of('GET', "/campaigns/$campaign{spring}/webhooks/summary?fromTime=a&toTime=b"),
	{ data => { summary => [], timeRange => { from => 'a', to => 'b' } } }, 'T5: the summary, of a span of time');
is(status_of('GET', "/campaigns/$campaign{spring}/webhooks/summary"), 400, 'T5: which is required');
is(status_of('POST', '/webhook/create', { webhook_url => 'https://x.example', association_type => 'user', event_type => 'EMAIL_SENT',
		category_id => 1, webhook_type => 'x' }), 200, 'T6: what is documented of /webhook/create is accepted');
is(status_of('POST', "/campaigns/$campaign{spring}/reply-email-thread", { email_stats_id => 's', email_body => 'b', to_first_name => 'a',
		to_last_name => 'b', scheduled_time => 't', schedule_condition => 'c', seq_type => 'x', attachments => [] }),
	200, 'T6: and of replies');

# ---- e-mail accounts ----

my $added = body_of('POST', "/campaigns/$campaign{spring}/email-accounts", { email_account_ids => [ 2909, '2910' ], auto_adjust_warmup => \1 });
is(join(' ', map { "$_->{email_campaign_id}:$_->{email_account_id}" } @{ $added->{result} }), '549768:2909 549768:2910',
	'T3: accounts that are added are told, and ids may be text');
is(body_of('DELETE', "/campaigns/$campaign{spring}/email-accounts", { email_account_ids => [ 2909, 2911 ] })->{result}, 1,
	'T3: what was not there is not counted as removed');
is(body_of('GET', '/email-accounts/2907/?fetch_tags=true')->{tags}[0]{tag_name}, 'dach', 'T5: tags when they are asked for');
ok(!exists body_of('GET', '/email-accounts/2907/')->{tags}, 'T5: and only then');

# ---- leads ----

is_deeply(body_of('GET', '/leads/3871200001/campaigns'), [ { id => 552100, status => 'PAUSED', name => $saved && body_of('GET', '/campaigns/552100')->{name} } ],
	'T5: the campaigns of a lead');
is(body_of('GET', '/campaigns/549768/analytics')->{campaign_lead_stats}{notStarted}, 121, 'T5: analytics');
my $import = body_of('POST', '/campaigns/549769/leads', {
	lead_list => [ map { { email => $_ } } qw(one@new.example two@new.example ONE@new.example nobody emil@gone.example ada@clinic.example) ],
	settings => { return_lead_ids => \1, ignore_duplicate_leads_in_other_campaign => \1 } });
is(join(' ', map { "$_=" . (ref $import->{$_} ? @{ $import->{$_} } : $import->{$_}) }
		qw(upload_count total_leads duplicate_count invalid_email_count unsubscribed_leads skipped_in_other_campaign_count)),
	'upload_count=6 total_leads=2 duplicate_count=1 invalid_email_count=1 unsubscribed_leads=1 skipped_in_other_campaign_count=1',
	'T5: each lead of an import is counted once');
is(status_of('POST', '/campaigns/549769/leads', { lead_list => [ { email => 'a@b.example' } ], settings => { ignore_everything => \1 } }),
	400, 'T5: a setting that does not exist is refused');
is(status_of('POST', '/campaigns/549769/leads', { lead_list => [ { email => 'a@b.example', shoe_size => 43 } ] }), 400,
	'T5: and so is a field');
ask('POST', '/leads/add-domain-block-list', { domain_block_list => [ 'rival.example', 'bob@other.example' ] });
is(scalar @{ body_of('GET', '/leads/get-domain-block-list?filter_email_or_domain=rival') }, 1, 'T5: the block list by a part');
is(scalar @{ body_of('GET', '/leads/get-domain-block-list?filter_email_with_domain=rival') }, 0, 'T5: and by the whole');
is(body_of('POST', '/campaigns/549769/leads', { lead_list => [ { email => 'a@rival.example' } ] })->{block_count}, 1, 'T5: is heeded by imports');

my $big = '/campaigns/600001/leads/3600000007';
is(body_of('GET', '/leads/?email=lead7@company7.example')->{id}, '3600000007', 'T8: a lead of the big campaign is found by its address');
ask('POST', $big, { email => 'lead7@company7.example', first_name => 'Zed', custom_fields => { a => 'b' } });
my $lead = body_of('GET', '/leads/3600000007')->{data}[0];
is("$lead->{first_name} $lead->{custom_fields}{a} $lead->{custom_fields}{title}", 'Zed b Head of Sales', 'T8: and keeps an update');
is(body_of('GET', '/campaigns/600001/leads?offset=7&limit=1')->{data}[0]{lead}{first_name}, 'Zed', 'T8: in listings, too');

# ---- form ----

is(status_of('GET', "$_?foo=1"), 400, "T7: an unknown key is refused: $_")
  for '/campaigns/', '/campaigns/549768', '/campaigns/549768/analytics', '/client/', '/leads/fetch-categories', '/leads/3499513771',
  '/campaigns/549768/webhooks';
sandbox_sees_slash('/email-accounts/');
sandbox_sees_slash('/email-accounts');

sub sandbox_sees_slash
{
	my ($path) = @_;
	ask('GET', $path);
	is((@{ sandbox_get('/_sandbox/log') })[-1]{path}, $path, "T7: the log keeps the path as it came: $path");
	return;
}
(undef, undef, $answer) = ask('POST', '/campaigns/549768/leads/3499513771/pause');
is($answer->{headers}{'content-type'}, 'application/json; charset=utf-8', 'T9: short answers tell their charset');

done_testing();
