import { json, text } from "@sveltejs/kit";

export const GET = ({ url }) => json({ query: Object.fromEntries(url.searchParams) });
export const POST = async ({ request }) => text((await request.text()).toUpperCase(), { status: 201 });
