export interface Book {
  id: number;
  title: string;
  author: string;
}

export const books: Book[] = [
  { id: 1, title: "The Left Hand of Darkness", author: "Ursula K. Le Guin" },
  { id: 2, title: "Solaris", author: "Stanisław Lem" },
  { id: 3, title: "The Dispossessed", author: "Ursula K. Le Guin" },
];
