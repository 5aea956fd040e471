# SmartleadSession: a psql session in the background, for tests in which several sessions act at
# once. PostgreSQL's own background_psql differs from version to version.
#
#	my $session = SmartleadSession->new($node, database => 'postgres', user => 'alice');
#	my ($rows, $errors) = $session->query('SELECT ...');	# waits; errors are psql's lines
#	$session->start('SELECT ...');							# does not wait ...
#	wait_until(sub { $session->has_ended }, 'its end', 60);	# if it may not end by itself
#	($rows, $errors) = $session->finish;					# ... until here
#	is($session->sqlstate('SELECT ...'), '00000');
#	$session->quit;
package SmartleadSession;

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Utils;

sub new
{
	my ($class, $node, %option) = @_;
	my $connection = $node->connstr($option{database} || 'postgres');
	$connection .= " user=$option{user}" if $option{user};
	my $self = bless { in => '', out => '', err => '', said => 0 }, $class;
	$self->{run} = IPC::Run::start(
		[ 'psql', '-X', '-q', '-A', '-t', '-d', $connection, '-f', '-' ],
		'<', \$self->{in}, '>', \$self->{out}, '2>', \$self->{err},
		$self->{timeout} = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	($self->{pid}) = $self->query('SELECT pg_backend_pid()');
	return $self;
}

# The process of the session's backend.
sub pid
{
	my ($self) = @_;
	return $self->{pid};
}

sub start
{
	my ($self, $sql) = @_;
	my $mark = 'statement ' . ++$self->{said} . ' is done';
	$self->{out} = $self->{err} = '';
	$self->{in} .= "$sql\n;\n\\echo $mark\n\\warn $mark\n";
	$self->{timeout}->start; # anew
	$self->{run}->pump_nb;
	return;
}

# Has the statement ended, or the session with it?
sub has_ended
{
	my ($self) = @_;
	return 1 unless $self->{run}->pumpable;
	$self->{run}->pump_nb;
	return $self->is_finished;
}

# Waits until the statement waits for Smartlead. False when it has ended instead, at once: what it waits for will
# not come any more.
sub waits_for_smartlead
{
	my ($self, $node) = @_;
	for (;;)
	{
		my ($state, $wait) = split /\|/, $node->safe_psql('postgres',
			"SELECT state, wait_event_type FROM pg_stat_activity WHERE pid = $self->{pid}");
		return 1 if ($wait // '') eq 'Extension';
		return 0 if $self->has_ended;
		select undef, undef, undef, 0.02;
	}
}

sub is_finished
{
	my ($self) = @_;
	my $mark = "statement $self->{said} is done\n";
	return $self->{out} =~ /\Q$mark\E\z/ && $self->{err} =~ /\Q$mark\E\z/;
}

# What the statement has answered; psql ends when the server ends the session.
sub finish
{
	my ($self) = @_;
	my $mark = "statement $self->{said} is done\n";
	until ($self->is_finished)
	{
		last unless $self->{run}->pumpable;
		$self->{run}->pump; # dies when the time is over
	}
	my ($out, $err) = ($self->{out}, $self->{err});
	s/\Q$mark\E\z// for $out, $err;
	chomp($out, $err);
	return wantarray ? ($out, $err) : $out;
}

sub query
{
	my ($self, $sql) = @_;
	$self->start($sql);
	return $self->finish;
}

sub quit
{
	my ($self) = @_;
	$self->{in} .= "\\q\n";
	$self->{run}->finish;
	return;
}

# The SQLSTATE with which the statement ends; 00000 when it succeeds.
sub sqlstate
{
	my ($self, $sql) = @_;
	$self->start_sqlstate($sql);
	return $self->finish_sqlstate;
}

sub start_sqlstate
{
	my ($self, $sql) = @_;
	$self->start("\\set VERBOSITY sqlstate\n$sql\n;\n\\set VERBOSITY default");
	return;
}

sub finish_sqlstate
{
	my ($self) = @_;
	my ($out, $err) = $self->finish;
	return $err =~ /(?:ERROR|FATAL): +(\w{5})/ ? $1 : '00000';
}

1;
