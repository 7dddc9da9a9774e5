import { error, fail } from "@sveltejs/kit";

export function load({ params, platform, cookies }) {
  if (params.name === "nobody") error(404, "nobody is there");
  cookies.set("last", params.name, { path: "/" });
  return { name: params.name, place: platform.env.PLACE };
}

export const actions = {
  default: async ({ request }) => {
    const text = (await request.formData()).get("text");
    return text ? { said: text } : fail(400, { said: "nothing" });
  },
};
