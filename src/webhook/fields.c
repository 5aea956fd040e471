/*
 * webhook/fields.c
 *		What the fields of Smartlead's payloads mean: a table, to be held against its documentation.
 *
 * Smartlead's classic events are flat. Its documentation also has events with nested lead, email, reply
 * and link, older names of fields and types, and an envelope with type, created_at and data. What a
 * column of smartlead_events is filled with is the first of its places that holds something of use; a
 * place that holds something else than expected is passed over, since the payload is kept anyway.
 *
 * How places are written, with blanks between them:
 *
 *		a.b		the member b of the member a. Of a list, its first element
 *		a+b		two places together, with a blank between what they hold
 *		a?b		the parameter b of the URL at a
 *		a@		the first e-mail address in the text at a
 *		a!		if it is there, it has the last word, also when it holds null
 *		a~		the same, but only when it holds null: what else it holds is passed over
 *
 * "--" stands for nothing, as in Smartlead's answers. Where a payload of a known kind has one of
 * the envelopes of envelope.c inside, each place is looked for in the payload first and there second.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "webhook/payload.h"

#define OF(kind) (UINT32_C(1) << (kind))
#define ALL UINT32_MAX
#define SENT (OF(SL_EMAIL_SENT) | OF(SL_FIRST_EMAIL_SENT))
#define REPLY OF(SL_EMAIL_REPLY)
#define UNTRACKED OF(SL_UNTRACKED_REPLIES)
#define CATEGORY OF(SL_LEAD_CATEGORY_UPDATED)
#define BOUNCE OF(SL_EMAIL_BOUNCE)
#define ACCOUNT (OF(SL_EMAIL_ACCOUNT_DISCONNECTED) | OF(SL_LINKEDIN_DISCONNECTED))
#define CAMPAIGN (OF(SL_CAMPAIGN_STATUS_CHANGED) | OF(SL_CAMPAIGN_BOUNCE_THRESHOLD_BREACHED))
#define ABOUT_LEADS (~(UNTRACKED | ACCOUNT | CAMPAIGN))

#define FIELD(name) offsetof(SlEvent, name)

SlField sl_fields[] = {
	/*
	 * When the payload says that it happened. In a bounce, event_timestamp is the time of sending.
	 */
	{FIELD(told_time), SL_READ_TIME, ALL, "event_timestamp timestamp created_at"},

	/* When it happened: for most kinds a time of their own, else the one above. */
	{FIELD(time), SL_READ_TIME, SENT, "time_sent sent_message.time"},
	{FIELD(time), SL_READ_TIME, OF(SL_EMAIL_OPEN), "time_opened opened_at"},
	{FIELD(time), SL_READ_TIME, OF(SL_EMAIL_LINK_CLICK), "time_clicked link.clicked_at"},
	{FIELD(time), SL_READ_TIME, REPLY,
	 "time_replied reply_message.time reply.received_at incoming_message.time"},
	{FIELD(time), SL_READ_TIME, BOUNCE, "bounce_message.time time_bounced"},
	{FIELD(time), SL_READ_TIME, ALL, "event_timestamp timestamp created_at"},
	{FIELD(time), SL_READ_TIME, REPLY, "lastReply.time last_reply.time"},
	{FIELD(time), SL_READ_TIME, UNTRACKED, "reply_message.time"},

	{FIELD(campaign_id), SL_READ_NUMBER, ALL, "campaign_id"},
	{FIELD(campaign_name), SL_READ_TEXT, ALL, "campaign_name"},
	{FIELD(client_id), SL_READ_NUMBER, ALL, "client_id"},

	{FIELD(lead_id), SL_READ_NUMBER, ALL, "sl_email_lead_id lead_id lead.id"},
	{FIELD(lead_map_id), SL_READ_NUMBER, ALL,
	 "sl_email_lead_map_id email_lead_map_id lead_map_id campaign_lead_map_id app_url?leadMap "
	 "ui_master_inbox_link?leadMap"},

	/* The mailbox: that of a campaign, that which was lost, or that of who wrote out of the blue. */
	{FIELD(from_email), SL_READ_ADDRESS, UNTRACKED, "sender_detail"},
	{FIELD(from_email), SL_READ_ADDRESS, ACCOUNT, "email"},
	{FIELD(from_email), SL_READ_ADDRESS, ALL, "from_email from email_account sender_detail"},
	{FIELD(to_email), SL_READ_ADDRESS, ALL, "to_email to"},

	/* In a reply, to_email is the lead, an alias of the lead's, or the mailbox that got it. */
	{FIELD(lead_email), SL_READ_ADDRESS, ALL,
	 "sl_lead_email leadCorrespondence.targetLeadEmail lead_correspondence.targetLeadEmail "
	 "lead_correspondence.target_lead_email lead_email lead.email lead_data.email"},
	{FIELD(lead_email), SL_READ_OTHERS_ADDRESS, REPLY, "to_email to description@"},
	{FIELD(lead_email), SL_READ_ADDRESS, ABOUT_LEADS & ~REPLY, "to_email to description@"},

	{FIELD(lead_name), SL_READ_TEXT, ABOUT_LEADS,
	 "lead_name to_name lead.first_name+lead.last_name lead_first_name+lead_last_name "
	 "lead_data.first_name+lead_data.last_name"},
	{FIELD(lead_name), SL_READ_NAME, ABOUT_LEADS,
	 "sl_lead_email lead_email lead.email lead_data.email"},
	{FIELD(lead_name), SL_READ_NAME, ABOUT_LEADS & ~REPLY, "to_email to"},

	{FIELD(sequence_number), SL_READ_NUMBER, ALL,
	 "sequence_number current_sequence current_sequence_number"},
	{FIELD(subject), SL_READ_TEXT, ALL,
	 "subject custom_subject reply.subject email.subject incoming_message.subject"},

	/* Of the event's own e-mail. A bounce's message_id is that of what was sent. */
	{FIELD(message_id), SL_READ_TEXT, REPLY | UNTRACKED,
	 "reply_message.message_id reply.message_id incoming_message.message_id message_id "
	 "lastReply.message_id last_reply.message_id",
	 true},
	{FIELD(message_id), SL_READ_TEXT, BOUNCE, "bounce_message.message_id bounce_reply_message_id",
	 true},
	{FIELD(message_id), SL_READ_TEXT, SENT,
	 "message_id sent_message.message_id sent_message.id email.message_id", true},
	{FIELD(message_id), SL_READ_TEXT, CATEGORY, "lastReply.message_id last_reply.message_id"},
	{FIELD(message_id), SL_READ_TEXT, ALL,
	 "message_id sent_message.message_id sent_message.id email.message_id"},
	{FIELD(stats_id), SL_READ_TEXT, ALL,
	 "stats_id email_stats_id lastReply.stats_id last_reply.stats_id"},

	{FIELD(link), SL_READ_TEXT, ALL,
	 "link_clicked link_clicked.url link_details link_details.url link.url link clicked_url"},

	/* After a change the new one; lead_data may still have the old one. */
	{FIELD(category), SL_READ_TEXT, CATEGORY,
	 "lead_category.new_name! lead_category category! category.name! lead_category~ "
	 "lead_category.new_id~ lead_category_id~ lead_data.category.name"},
	{FIELD(category), SL_READ_TEXT, ~CATEGORY,
	 "category category.name lead_category.new_name lead_category lead_data.category.name"},
	{FIELD(category_id), SL_READ_NUMBER, CATEGORY,
	 "lead_category.new_id! lead_category_id! category_id!"},
	{FIELD(category_id), SL_READ_NUMBER, ~CATEGORY,
	 "lead_category.new_id lead_category_id category_id reply_category"},

	{FIELD(reply_text), SL_READ_TEXT, ALL,
	 "reply_message.text preview_text visible_text reply.text reply.body reply_text "
	 "incoming_message.text reply_message reply_body"},
	{FIELD(reply_text), SL_READ_TEXT, REPLY, "message"},
	{FIELD(reply_text), SL_READ_TEXT, REPLY | UNTRACKED,
	 "reply_message.html incoming_message.html"},
	{FIELD(reply_text), SL_READ_TEXT, REPLY | CATEGORY,
	 "lastReply.email_body last_reply.email_body"},
	{0}};
