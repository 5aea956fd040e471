// A webhook receiver as one writes it with Express and pg: an insert per request, answered after it.
// PORT: where to listen; the database from the PG* variables.
const express = require('express');
const { Pool } = require('pg');

const pool = new Pool({ max: 20, database: 'bench' });
const app = express();
app.disable('x-powered-by');
app.use(express.json({ limit: '5mb' }));

app.post('/hooks/:token', async (request, response) => {
	if (request.params.token !== process.env.TOKEN) return response.sendStatus(404);
	const event = request.body;
	try {
		await pool.query(
			'INSERT INTO express_events (request_id, event_type, event_at, campaign_id, lead_id, lead_email, payload)' +
				' VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (request_id) DO NOTHING',
			[request.get('X-Request-Id'), event.event_type, event.event_timestamp, event.campaign_id,
				event.sl_email_lead_id, event.to_email, JSON.stringify(event)]);
		response.sendStatus(200);
	} catch (error) {
		response.sendStatus(503);
	}
});

app.listen(Number(process.env.PORT), '127.0.0.1');
